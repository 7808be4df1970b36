"""URLs of the dataset and source pages."""

from django.urls import path
from django.views.generic import RedirectView

from ingestion import views

urlpatterns = [
    path("datasets/", views.datasets, name="datasets"),
    path("datasets/ingest/", views.ingest, name="ingest"),
    path("datasets/sources/", views.edit_source, name="source_add"),
    path("datasets/sources/<int:pk>/", views.edit_source, name="source"),
    path("datasets/sources/<int:pk>/ingest/", views.ingest_source, name="source_ingest"),
    path("datasets/sources/<int:pk>/remove/", views.remove_source, name="source_remove"),
    path("datasets/<int:pk>/", views.dataset, name="dataset"),
    path("datasets/<int:pk>/archive/", views.archive, name="dataset_archive"),
    path("datasets/<int:pk>/correct/", views.correct, name="dataset_correct"),
    path("datasets/<int:pk>/lines/<int:line>/", views.rejected_row, name="rejected_row"),
    path("datasets/<int:pk>/rejected.csv", views.rejected_csv, name="dataset_rejected_csv"),
    # Its address in earlier versions.
    path("datasets/<int:pk>/refused.csv", RedirectView.as_view(pattern_name="dataset_rejected_csv", permanent=True)),
    path("datasets/<int:pk>/problems.csv", views.problems_csv, name="dataset_problems_csv"),
]
