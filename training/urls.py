"""Addresses of training's pages."""

from django.urls import path
from django.views.generic import RedirectView

from training import views

urlpatterns = [
    path("features/<int:pk>/runs/", views.batch_runs, name="batch_runs"),
    path("models/", views.models, name="models"),
    path("models/train/", views.train, name="train"),
    path("models/rollback/", views.rollback, name="rollback"),
    path("models/history/", views.champion_history, name="champion_history"),
    path("models/reigns/", RedirectView.as_view(pattern_name="champion_history", permanent=True, query_string=True)),
    path("models/<int:version>/", views.model, name="model"),
    path("models/<int:version>/card/", views.model_card, name="model_card"),
    path("models/<int:version>/card.md", views.model_card_file, name="model_card_file"),
    path("models/<int:version>/annotate/", views.annotate, name="annotate"),
    path("models/<int:version>/promote/", views.promote, name="promote"),
    path("models/<int:version>/challenge/", views.challenge, name="challenge"),
    path("models/<int:version>/retire/", views.retire, name="retire"),
    path("models/<int:version>/reproduce/", views.reproduce, name="reproduce"),
    path("models/<int:version>/artifact/", views.artifact, name="model_artifact"),
    path("runs/reproduce/<int:pk>/", views.reproduction, name="reproduction"),
    # A training run's address in earlier versions.
    path("runs/train/<int:pk>/", RedirectView.as_view(pattern_name="run", permanent=True), {"kind": "trainingrun"}),
]
