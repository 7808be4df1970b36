"""Addresses of the predictions' pages."""

from django.urls import path

from predictions import views

urlpatterns = [
    path("predict", views.predict, name="predict"),
    path("predictions/", views.predictions, name="predictions"),
    path("predictions/outcomes/", views.outcomes_file, name="outcomes"),
    path("predictions/<uuid:pk>/", views.prediction, name="prediction"),
    path("predictions/<uuid:pk>/why/", views.why, name="why"),
    path("predictions/<uuid:pk>/outcome/", views.outcome, name="outcome"),
    path("predictions/shadow/<int:version>/", views.shadow_comparison, name="shadow"),
    path("scoring/", views.scoring, name="scoring"),
    path("scoring/start/", views.score, name="score"),
    path("scoring/<int:pk>/", views.scoring_job, name="scoring_job"),
    path("scoring/<int:pk>/results.csv", views.scoring_results, name="scoring_results"),
]
