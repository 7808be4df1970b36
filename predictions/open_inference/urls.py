"""Addresses of the Open Inference Protocol v2."""

from django.urls import path, re_path

from ingestion.passenger import MODEL_NAME
from predictions.open_inference import views

_MODEL = f"v2/models/{MODEL_NAME}"
urlpatterns = [
    path("v2", views.Server.as_view()),
    path("v2/health/live", views.Live.as_view()),
    path("v2/health/ready", views.Ready.as_view()),
    *(
        path(f"{start}{end}", view.as_view())
        for start in (_MODEL, f"{_MODEL}/versions/<int:version>")
        for end, view in (
            ("", views.Model),
            ("/config", views.Config),
            ("/ready", views.Ready),
            ("/infer", views.Infer),
        )
    ),
    re_path(r"^v2/[\s\S]*$", views.Unknown.as_view()),
]
