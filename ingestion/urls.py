"""Addresses of ingestion's pages."""

from django.urls import path

from ingestion import views

urlpatterns = [
    path("datasets/", views.datasets, name="datasets"),
    path("datasets/ingest/", views.ingest, name="ingest"),
    path("datasets/<int:pk>/", views.dataset, name="dataset"),
    path("datasets/<int:pk>/problems.csv", views.problems_csv, name="dataset_problems_csv"),
]
