"""Addresses of ingestion's pages."""

from django.urls import path

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
    path("datasets/<int:pk>/mend/", views.accept_corrected, name="dataset_mend"),
    path("datasets/<int:pk>/lines/<int:line>/", views.refused_row, name="refused_row"),
    path("datasets/<int:pk>/refused.csv", views.refused_csv, name="dataset_refused_csv"),
    path("datasets/<int:pk>/problems.csv", views.problems_csv, name="dataset_problems_csv"),
]
