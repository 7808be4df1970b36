"""The admin: every model of ours and the scheduler's, jobs to look at and to start again."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin

from ingestion.models import Dataset, RowProblem
from predictions.models import ScoringJob
from titanic_site import schedules
from titanic_site.lib.jobs import Job, State, kinds
from training.models import ModelVersion, StageChange

# The theme has its own ways with variables.
pytestmark = pytest.mark.ignore_template_errors

OURS = ("titanic_site", "ingestion", "features", "training", "predictions", "monitoring")


@pytest.fixture
def client(champion: ModelVersion, django_user_model: Any) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.get(username="admin"))
    return client


def _url(model: type[Any], page: str = "") -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{page}"


def test_every_model_of_ours_and_of_the_scheduler_is_there_in_the_theme() -> None:
    ours = [model for model in apps.get_models() if model._meta.app_label in OURS]
    theirs = [ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule]

    assert [model for model in [*ours, *theirs] if not admin.site.is_registered(model)] == []
    assert [model for model, page in admin.site._registry.items() if not isinstance(page, ModelAdmin)] == []


def test_every_list_and_every_row_opens(client: Client) -> None:
    schedules.create_missing()
    dataset = Dataset.objects.get()
    RowProblem.objects.create(dataset=dataset, line_number=2, column="x", code="x", message="bad")
    ScoringJob.objects.create(name="x", upload="x.csv")

    for model in admin.site._registry:
        assert client.get(_url(model)).status_code == 200, model
        for row in model._default_manager.all()[:1]:
            assert client.get(_url(model, f"{row.pk}/change/")).status_code == 200, model


@pytest.mark.parametrize("kind", kinds())
def test_jobs_are_read_only(client: Client, kind: type[Job]) -> None:
    assert client.get(_url(kind, "add/")).status_code == 403
    for row in kind._default_manager.all()[:1]:
        assert client.post(_url(kind, f"{row.pk}/change/"), {"name": "y"}).status_code == 403
        assert client.post(_url(kind, f"{row.pk}/delete/"), {"post": "yes"}).status_code == 403


def test_a_job_is_started_again_from_the_list(client: Client) -> None:
    failed = Dataset.objects.create(name="x", uri="x", state=State.FAILED)

    page = client.post(_url(Dataset), {"action": "start_again", "_selected_action": [failed.pk]}, follow=True)

    again = Dataset.objects.get(state=State.QUEUED)
    assert (again.uri, again.pk > failed.pk) == ("x", True)
    assert "started again" in page.text


def test_an_open_job_is_cancelled_from_the_list_and_not_started_twice(client: Client) -> None:
    job = Dataset.objects.create(name="x", uri="x")

    refused = client.post(_url(Dataset), {"action": "start_again", "_selected_action": [job.pk]}, follow=True)
    client.post(_url(Dataset), {"action": "cancel", "_selected_action": [job.pk]})

    job.refresh_from_db()
    assert "cancel it first" in refused.text
    assert job.state == State.CANCELLED


def test_who_put_a_model_in_charge_cannot_be_rewritten(client: Client) -> None:
    change = StageChange.objects.first()
    assert change is not None

    assert client.post(_url(StageChange, f"{change.pk}/change/"), {"reason": "other"}).status_code == 403
    assert client.post(_url(StageChange, f"{change.pk}/delete/"), {"post": "yes"}).status_code == 403


def test_a_champion_is_not_put_in_charge_twice(client: Client, champion: ModelVersion) -> None:
    page = client.post(_url(ModelVersion), {"action": "promote", "_selected_action": [champion.pk]}, follow=True)

    assert "is in charge already" in page.text


def test_a_schedule_is_edited_with_the_registered_tasks_to_choose_from(client: Client) -> None:
    schedules.create_missing()
    periodic = PeriodicTask.objects.get(name="Check drift")

    page = client.get(_url(PeriodicTask, f"{periodic.pk}/change/"))

    assert "monitoring.tasks.scheduled_check" in page.text
    assert '<option value="ingestion.tasks.ingest"' in page.text


def test_a_stranger_is_asked_to_sign_in() -> None:
    assert Client().get("/admin/")["Location"].startswith("/admin/login/")
