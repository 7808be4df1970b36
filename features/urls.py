"""Addresses of the feature pages."""

from django.urls import path

from features import views

urlpatterns = [
    path("features/", views.batches, name="features"),
    path("features/build/", views.build, name="build_features"),
    path("features/<int:pk>/", views.batch, name="feature_batch"),
]
