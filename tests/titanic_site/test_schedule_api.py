"""The API of schedules: the rules of their pages, what is wrong named at its field."""

import json
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask
from rest_framework.test import APIClient

from core import redis, schedule_runs
from core.messages import Message
from core.models import AuditEntry
from ingestion import sources
from ingestion.models import Source
from tests.users import make_user
from titanic_site import schedules, timetables
from titanic_site.models import AccessToken

URL = "/api/v1/schedules/"


@pytest.fixture
def drift(db: None) -> PeriodicTask:
    """The schedule of the drift check, among all default ones."""
    schedules.create_missing()
    return PeriodicTask.objects.get(name="Check drift")


def _caller(role: str, **grants: bool) -> APIClient:
    client = APIClient(raise_request_exception=False)
    token = AccessToken.objects.create(make_user(role, role), **grants)[1]
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def test_the_list_and_a_schedule_tell_when_it_runs(
    api: APIClient, drift: PeriodicTask, django_assert_max_num_queries: Any
) -> None:
    schedule_runs.record(drift.name, began=0, error=Message())

    # Token, its owner and their role; schedules, and the sources of some.
    with django_assert_max_num_queries(5):
        listed = api.get(URL, {"page_size": 1000}).json()["results"]
    found = api.get(f"{URL}{drift.pk}/").json()

    (row,) = [row for row in listed if row["id"] == drift.pk]
    assert len(listed) == len(schedules.defaults())
    assert (row["name"], row["is_internal"], row["when"], row["enabled"]) == ("Check drift", False, "every hour", True)
    assert (row["interval_seconds"], row["crontab"], row["time_zone"], row["source"]) == (3600, None, None, None)
    assert row["last_run"]["started_at"] == "1970-01-01T00:00:00Z"
    assert row.items() <= found.items()
    assert (len(found["next_runs"]), found["next_runs"][0], len(found["runs"])) == (5, found["next_run_at"], 1)


def test_it_is_changed_in_one_call(api: APIClient, drift: PeriodicTask) -> None:
    body = {"enabled": False, "crontab": "30 6 * * 1,4", "time_zone": "Europe/Madrid"}

    found = api.post(f"{URL}{drift.pk}/change/", body, format="json").json()
    shown = api.post(f"{URL}{drift.pk}/change/", {"enabled": True}, format="json").json()
    again = api.post(f"{URL}{drift.pk}/change/", {"interval_seconds": 7200}, format="json").json()

    assert (found["enabled"], found["next_run_at"]) == (False, None)
    assert (shown["crontab"], shown["time_zone"]) == ("30 6 * * 1,4", "Europe/Madrid")
    assert shown["when"] == "Mondays, Thursdays at 06:30 (Europe/Madrid)"
    assert (again["interval_seconds"], again["crontab"], again["when"]) == (7200, None, "every 2 hours")
    drift.refresh_from_db()
    assert drift.expire_seconds == 7200
    trail = AuditEntry.objects.filter(action="changed", object_id=drift.pk, actor="caller", actor_kind="token")
    assert trail.count() == 4


@pytest.mark.parametrize(("crontab", "seconds"), [("*/5 * * * *", 300), ("0 6 1 * *", 86_400), ("0 6 * * mon", 86_400)])
def test_what_waits_for_a_worker_expires_before_the_next(
    api: APIClient, drift: PeriodicTask, crontab: str, seconds: int
) -> None:
    assert api.post(f"{URL}{drift.pk}/change/", {"crontab": crontab}, format="json").status_code == 200

    drift.refresh_from_db()
    assert drift.expire_seconds == seconds


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "non_field_errors"),
        ([], "non_field_errors"),
        ({"interval_seconds": 0}, "interval_seconds"),
        ({"interval_seconds": -1}, "interval_seconds"),
        ({"interval_seconds": 1.5}, "interval_seconds"),
        ({"interval_seconds": 10**30}, "interval_seconds"),
        ({"interval_seconds": None}, "interval_seconds"),
        ({"interval_seconds": 60, "crontab": "0 6 * * *"}, "crontab"),
        ({"enabled": "off"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"crontab": ""}, "crontab"),
        ({"crontab": "0 6 * *"}, "crontab"),
        ({"crontab": "0 6 * * * *"}, "crontab"),
        ({"crontab": "60 6 * * *"}, "crontab"),
        ({"crontab": "*/0 * * * *"}, "crontab"),
        ({"crontab": "a b c d e"}, "crontab"),
        ({"crontab": "٣ 6 * * *"}, "crontab"),
        ({"crontab": "0 6 * * \0"}, "crontab"),
        ({"crontab": "0," * 200 + "0 6 * * *"}, "crontab"),
        ({"crontab": "0 0 30 2 *"}, "crontab"),
        ({"crontab": "0 6 * * *", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"crontab": "0 6 * * *", "time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": "UTC"}, "time_zone"),
        ({"enabled": True, "task": "os.system"}, "task"),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(api: APIClient, drift: PeriodicTask, body: Any, attr: str) -> None:
    answer = api.post(f"{URL}{drift.pk}/change/", body, format="json")

    assert answer.status_code == 400
    assert {error["attr"] for error in answer.json()["errors"]} == {attr}
    drift.refresh_from_db()
    assert (timetables.in_words(drift), drift.enabled) == ("every hour", True)


def test_a_heartbeat_stays_frequent(api: APIClient, drift: PeriodicTask) -> None:
    beat = PeriodicTask.objects.get(name="Queue heartbeat: scoring")

    for body in ({"interval_seconds": 61}, {"crontab": "* * * * *"}):
        answer = api.post(f"{URL}{beat.pk}/change/", body, format="json")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "rare")
    assert api.post(f"{URL}{beat.pk}/change/", {"interval_seconds": 60}, format="json").status_code == 200


def test_it_is_run_now(api: APIClient, drift: PeriodicTask, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(redis.breaker, "is_open", True)
        assert api.get(f"{URL}{drift.pk}/").json()["runs"] is None
        assert api.post(f"{URL}{drift.pk}/run/").status_code == 503

    assert api.post(f"{URL}{drift.pk}/run/").status_code == 202
    assert json.loads(redis.client().rpop("default"))["headers"]["task"] == drift.task
    PeriodicTask.objects.filter(pk=drift.pk).update(task="no.such.task")
    assert api.post(f"{URL}{drift.pk}/run/").status_code == 409
    assert AuditEntry.objects.filter(action="run").count() == 1


@pytest.mark.parametrize("pk", ["0", "999999", "9" * 30])
def test_an_unknown_one_is_not_found(api: APIClient, db: None, pk: str) -> None:
    assert api.get(f"{URL}{pk}/").status_code == 404
    for verb in ("change", "run"):
        assert api.post(f"{URL}{pk}/{verb}/", {"enabled": True}, format="json").status_code == 404


def test_the_schedule_of_a_database_is_an_administrators(drift: PeriodicTask) -> None:
    source = Source(name="crew", uri="postgresql://ann:s@db/ship#crew")
    sources.save(source, every=sources.DEFAULT_EVERY, is_enabled=True)
    assert source.schedule is not None
    url = f"{URL}{source.schedule.pk}/"

    operator, administrator = _caller("operator", can_admin=True), _caller("administrator", can_admin=True)
    assert operator.post(f"{url}change/", {"enabled": False}, format="json").status_code == 403
    assert operator.post(f"{url}run/").status_code == 202
    assert operator.get(url).json()["source"] == source.pk
    assert administrator.post(f"{url}change/", {"enabled": False}, format="json").status_code == 200
