"""The pages of schedules: what runs when, in words and as moments; on and off, run now, and another timetable."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import current_app
from django.test import Client
from django.utils import timezone, translation
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask

from core import heartbeat, redis, schedule_runs
from core.messages import Message
from core.models import AuditEntry
from ingestion import sources
from ingestion.models import Source
from tests.users import make_user
from titanic_site import schedules, timetables

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVERY_TWO_HOURS = {"kind": "interval", "every": "2", "unit": "3600"}
MONDAYS = {"kind": "weekly", "days": ["1"], "time": "06:00"}


@pytest.fixture
def drift(db: None) -> PeriodicTask:
    """The schedule of the drift check, among all default ones."""
    schedules.create_missing()
    return PeriodicTask.objects.get(name="Check drift")


@pytest.fixture
def operator(drift: PeriodicTask, login_required: None) -> Client:
    client = Client()
    client.force_login(make_user("captain"))
    return client


def _schedule(**fields: Any) -> PeriodicTask:
    return PeriodicTask(**{"date_changed": NOW, "enabled": True, **fields})


def _every(seconds: int, **fields: Any) -> PeriodicTask:
    return _schedule(interval=IntervalSchedule(every=seconds, period=IntervalSchedule.SECONDS), **fields)


@pytest.mark.parametrize(
    ("seconds", "words", "in_spanish"),
    [
        (1, "every second", "cada segundo"),
        (90, "every 90 seconds", "cada 90 segundos"),
        (3600, "every hour", "cada hora"),
        (604_800, "every 7 days", "cada 7 días"),
    ],
)
def test_an_interval_in_words(seconds: int, words: str, in_spanish: str) -> None:
    assert timetables.in_words(_every(seconds)) == words
    with translation.override("es"):
        assert timetables.in_words(_every(seconds)) == in_spanish


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"minute": "0", "hour": "6", "day_of_week": "1"}, "Mondays at 06:00"),
        ({"minute": "5", "hour": "6", "day_of_week": "mon-fri"}, "Monday to Friday at 06:05"),
        ({"minute": "5", "hour": "16"}, "every day at 16:05"),
        (
            {"minute": "0", "hour": "6", "day_of_week": "0,6", "timezone": "Europe/Madrid"},
            "Saturdays, Sundays at 06:00 (Europe/Madrid)",
        ),
        ({"minute": "*/5"}, "as the crontab */5 * * * * says"),
        ({"minute": "0", "hour": "6", "day_of_month": "1"}, "as the crontab 0 6 1 * * says"),
    ],
)
def test_a_crontab_in_words(fields: dict[str, str], words: str) -> None:
    assert timetables.in_words(_schedule(crontab=CrontabSchedule(**fields))) == words


def test_the_next_runs_of_an_interval() -> None:
    last_run_at = NOW - timedelta(minutes=20)

    assert timetables.next_runs(_every(3600, last_run_at=last_run_at), now=NOW, count=2) == [
        NOW + timedelta(minutes=40),
        NOW + timedelta(minutes=100),
    ]
    assert timetables.next_runs(_every(60, last_run_at=last_run_at), now=NOW, count=1) == [NOW]
    assert timetables.next_runs(_every(60, enabled=False), now=NOW) == []


def test_the_next_runs_of_a_crontab_cross_the_change_of_the_clock() -> None:
    crontab = CrontabSchedule(minute="0", hour="6", day_of_week="6,0", timezone="Europe/Madrid")

    friday = datetime(2026, 10, 23, tzinfo=UTC)

    found = timetables.next_runs(_schedule(crontab=crontab, date_changed=friday), now=friday, count=2)

    assert [f"{moment:%m-%d %H:%M}" for moment in found] == ["10-24 04:00", "10-25 05:00"]


def test_what_never_comes_has_no_next_run() -> None:
    never = CrontabSchedule(minute="0", hour="6", day_of_month="30", month_of_year="2")
    passed = ClockedSchedule(clocked_time=NOW - timedelta(days=1))

    assert timetables.next_runs(_schedule(crontab=never), now=NOW) == []
    assert timetables.next_runs(_schedule(clocked=passed, one_off=True), now=NOW) == []


def test_the_list_folds_away_what_keeps_the_product_running(operator: Client, drift: PeriodicTask) -> None:
    schedule_runs.record(drift.name, began=NOW.timestamp(), error=Message("PostgreSQL is away"))

    page = operator.get("/schedules/").text

    planned, internal = page.split("internal-schedules")
    assert "Every hour" in planned
    assert "1 Nov 2026, 12:00 UTC" in planned
    assert "Failed" in planned
    assert "Queue heartbeat: scoring" in internal
    assert "Queue heartbeat" not in planned


def test_a_schedule_shows_its_next_and_its_last_runs(operator: Client, drift: PeriodicTask) -> None:
    schedule_runs.record(drift.name, began=NOW.timestamp(), error=Message())

    page = operator.get(f"/schedules/{drift.pk}/").text

    assert page.count("<time ") == 5
    assert "1 Nov 2026, 12:00:00 UTC" in page
    assert "monitoring.tasks.scheduled_check" in page.partition("Technical details")[2]


def test_only_the_last_runs_are_kept() -> None:
    for number in range(schedule_runs.KEPT + 5):
        schedule_runs.record("x", began=number, error=Message())

    kept = schedule_runs.newest(["x", "y"], count=100)

    assert [run.began for run in kept["x"]] == list(range(schedule_runs.KEPT + 4, 4, -1))
    assert kept["y"] == []


def test_without_redis_the_pages_leave_the_last_runs_out(
    operator: Client, drift: PeriodicTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(redis.breaker, "is_open", True)
        assert operator.get("/schedules/").status_code == 200
        assert "Redis is unavailable" in operator.get(f"/schedules/{drift.pk}/").text
        assert operator.post(f"/schedules/{drift.pk}/run/").status_code == 503
    assert not AuditEntry.objects.filter(action="run").exists()


def test_it_is_switched_off_and_on(operator: Client, drift: PeriodicTask) -> None:
    page = operator.post(f"/schedules/{drift.pk}/switch/", {"enabled": "off"}, follow=True).text

    drift.refresh_from_db()
    assert not drift.enabled
    assert "Switch on" in page
    entry = AuditEntry.objects.get(action="changed")
    assert (entry.actor, entry.before, entry.after) == ("captain", {"enabled": True}, {"enabled": False})
    operator.post(f"/schedules/{drift.pk}/switch/", {"enabled": "on"})
    drift.refresh_from_db()
    assert drift.enabled


def test_it_is_run_now_as_the_scheduler_would(operator: Client) -> None:
    beat = PeriodicTask.objects.get(name="Queue heartbeat: scoring")

    operator.post(f"/schedules/{beat.pk}/run/")

    message = json.loads(redis.client().rpop("scoring"))
    task = current_app.tasks[message["headers"]["task"]]
    # As a worker does it.
    task.push_request(**message["headers"])
    task(queue="scoring")
    task.pop_request()
    assert heartbeat.ages()["scoring"] is not None
    assert [run.error for run in schedule_runs.newest([beat.name])[beat.name]] == [""]
    assert AuditEntry.objects.get(action="run").object_id == str(beat.pk)
    # The page that promised the run asks for it by itself.
    (part,) = re.findall(r'<div id="last-runs".*?</div>', operator.get(f"/schedules/{beat.pk}/").text, re.DOTALL)
    assert f'hx-get="/schedules/{beat.pk}/"' in part
    assert 'hx-trigger="every' in part
    assert "Succeeded" in part


@pytest.mark.parametrize("fields", [{"task": "no.such.task"}, {"kwargs": "{"}, {"args": "{}"}, {"kwargs": "[]"}])
def test_what_no_worker_can_run_is_not_sent(operator: Client, drift: PeriodicTask, fields: dict[str, str]) -> None:
    PeriodicTask.objects.filter(pk=drift.pk).update(**fields)

    assert operator.post(f"/schedules/{drift.pk}/run/").status_code == 409
    assert redis.client().llen("default") == 0


def test_another_interval_stays(operator: Client, drift: PeriodicTask) -> None:
    answer = operator.post(f"/schedules/{drift.pk}/", EVERY_TWO_HOURS, follow=True)

    schedules.create_missing()
    drift.refresh_from_db()
    assert timetables.in_words(drift) == "every 2 hours"
    assert drift.expire_seconds == 7200
    assert "The schedule is changed: every 2 hours." in answer.text
    assert AuditEntry.objects.filter(action="changed", object_id=drift.pk).exists()


def test_a_time_on_chosen_days(operator: Client, drift: PeriodicTask) -> None:
    operator.post(f"/schedules/{drift.pk}/", {"kind": "weekly", "days": ["1", "4"], "time": "06:30"})

    drift.refresh_from_db()
    assert timetables.in_words(drift) == "Mondays, Thursdays at 06:30"
    page = operator.get(f"/schedules/{drift.pk}/").text
    assert 'value="06:30"' in page
    assert page.count(" checked") == 3
    operator.post(f"/schedules/{drift.pk}/", EVERY_TWO_HOURS)
    drift.refresh_from_db()
    assert drift.crontab is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "kind"),
        ({"kind": "x"}, "kind"),
        ({**EVERY_TWO_HOURS, "every": ""}, "every"),
        ({**EVERY_TWO_HOURS, "every": "0"}, "every"),
        ({**EVERY_TWO_HOURS, "every": "-1"}, "every"),
        ({**EVERY_TWO_HOURS, "every": "1.5"}, "every"),
        ({**EVERY_TWO_HOURS, "every": "9" * 400}, "every"),
        ({**EVERY_TWO_HOURS, "every": "367", "unit": "86400"}, "every"),
        ({**EVERY_TWO_HOURS, "unit": "7"}, "unit"),
        ({**EVERY_TWO_HOURS, "unit": ""}, "unit"),
        ({**MONDAYS, "days": []}, "days"),
        ({**MONDAYS, "days": ["7"]}, "days"),
        ({**MONDAYS, "time": "25:00"}, "time"),
        ({**MONDAYS, "time": "\0"}, "time"),
        ({**MONDAYS, "time": ""}, "time"),
    ],
)
def test_a_wrong_value_is_named_at_its_field(
    operator: Client, drift: PeriodicTask, values: dict[str, Any], field: str
) -> None:
    answer = operator.post(f"/schedules/{drift.pk}/", values)

    assert answer.status_code == 400
    assert list(answer.context["form"].errors) == [field]
    assert f'id="id_{field}_error"' in answer.text
    drift.refresh_from_db()
    assert timetables.in_words(drift) == "every hour"


def test_a_heartbeat_stays_frequent(operator: Client) -> None:
    beat = PeriodicTask.objects.get(name="Queue heartbeat: scoring")

    for values in (EVERY_TWO_HOURS, MONDAYS):
        answer = operator.post(f"/schedules/{beat.pk}/", values)
        assert "at least every 60 seconds" in answer.text
    assert operator.post(f"/schedules/{beat.pk}/", {**EVERY_TWO_HOURS, "every": "1", "unit": "60"}).status_code == 302


def test_the_schedule_of_a_database_is_an_administrators(operator: Client) -> None:
    source = Source(name="crew", uri="postgresql://ann:s@db/ship#crew")
    sources.save(source, every=sources.DEFAULT_EVERY, is_enabled=True)
    assert source.schedule is not None
    url = f"/schedules/{source.schedule.pk}/"

    assert operator.post(f"{url}switch/", {"enabled": "off"}).status_code == 403
    assert operator.post(url, EVERY_TWO_HOURS).status_code == 403
    assert "Change when it runs" not in operator.get(url).text
    assert operator.post(f"{url}run/").status_code == 302
    assert "Fetch new data: crew" in operator.get(url).text


def test_a_viewer_looks_and_changes_nothing(operator: Client, drift: PeriodicTask) -> None:
    viewer = Client()
    viewer.force_login(make_user("guest", "viewer"))
    url = f"/schedules/{drift.pk}/"

    page = viewer.get(url).text

    assert "Every hour" in page
    assert f'action="{url}' not in page
    for address in (url, f"{url}switch/", f"{url}run/"):
        assert viewer.post(address, EVERY_TWO_HOURS).status_code == 403
    assert operator.get("/schedules/999999/").status_code == 404


def test_times_are_in_the_time_zone_of_the_request(drift: PeriodicTask) -> None:
    with timezone.override("Europe/Madrid"):
        schedules.run_weekly(drift, days=["1"], hour=6, minute=0)
        assert timetables.in_words(drift) == "Mondays at 06:00"

    assert timetables.in_words(drift) == "Mondays at 06:00 (Europe/Madrid)"
