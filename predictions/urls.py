"""URLs of the prediction and scoring pages."""

from django.urls import path

from predictions import views

urlpatterns = [
    path("predict", views.predict, name="predict"),
    path("predict/check", views.check_form, name="check_form"),
    path("predictions/", views.predictions, name="predictions"),
    path("predictions/outcomes/", views.record_outcomes, name="outcomes"),
    path("predictions/erase/", views.erase_predictions, name="erase_predictions"),
    path("predictions/<uuid:pk>/", views.prediction, name="prediction"),
    path("predictions/<uuid:pk>/why/", views.explain, name="why"),
    path("predictions/<uuid:pk>/what-if/", views.what_if_page, name="what_if"),
    path("predictions/<uuid:pk>/similar/", views.similar, name="similar"),
    path("predictions/<uuid:pk>/versions/", views.versions, name="versions"),
    path("predictions/<uuid:pk>/outcome/", views.record_outcome, name="outcome"),
    path("predictions/<uuid:pk>/outcome/correct/", views.correct_outcome, name="correct_outcome"),
    path("predictions/shadow/<int:version>/", views.shadow_comparison, name="shadow"),
    path("scoring/", views.scoring_jobs, name="scoring"),
    path("scoring/start/", views.start_scoring, name="score"),
    path("scoring/<int:pk>/", views.scoring_job, name="scoring_job"),
    path("scoring/<int:pk>/delete/", views.delete_scoring, name="scoring_delete"),
    path("scoring/<int:pk>/results.csv", views.scoring_results, name="scoring_results"),
]
