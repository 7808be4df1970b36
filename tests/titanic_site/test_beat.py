"""The scheduler: of several, exactly one sends, and another takes over when it goes."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from celery.signals import heartbeat_sent
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from core import redis
from titanic_site.beat import STANDBY_SECONDS, PastEntry, SoleScheduler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def schedulers() -> Iterator[list[SoleScheduler]]:
    """Three, as on three machines."""
    found = [SoleScheduler(app=current_app, max_interval=5) for _ in range(3)]
    yield found
    for scheduler in found:
        scheduler.close()


@pytest.fixture(autouse=True)
def due() -> PeriodicTask:
    """A schedule whose time has come."""
    every, _ = IntervalSchedule.objects.get_or_create(every=3600, period=IntervalSchedule.SECONDS)
    return PeriodicTask.objects.create(
        name="due",
        task="titanic_site.tasks.heartbeat",
        kwargs='{"queue": "fast"}',
        queue="test",
        interval=every,
        last_run_at=timezone.now() - timedelta(days=1),
    )


def _run(scheduler: SoleScheduler) -> None:
    """A scheduler's rounds until it wants to sleep, and the note of what it sent."""
    while scheduler.tick() == 0:
        pass
    if scheduler.should_sync():
        scheduler._do_sync()


def _sent_count() -> int:
    return int(redis.client().llen("test"))


def test_it_works(schedulers: list[SoleScheduler]) -> None:
    for _ in range(2):
        for scheduler in schedulers:
            _run(scheduler)

    assert _sent_count() == 1
    assert PeriodicTask.objects.get(name="due").total_run_count == 1


def test_another_takes_over_and_knows_what_was_sent(schedulers: list[SoleScheduler]) -> None:
    for scheduler in schedulers:
        _run(scheduler)

    schedulers[0].close()
    _run(schedulers[1])
    _run(schedulers[2])

    assert _sent_count() == 1
    assert schedulers[1]._is_sole
    assert not schedulers[2]._is_sole


def test_another_takes_over_from_one_that_was_killed(schedulers: list[SoleScheduler]) -> None:
    _run(schedulers[0])
    # What a killed one leaves behind, a lock's life later.
    redis.client().pexpire("scheduler", 1)
    time.sleep(0.01)

    _run(schedulers[1])
    assert schedulers[1]._is_sole

    assert schedulers[0].tick() == STANDBY_SECONDS
    assert not schedulers[0]._is_sole
    assert _sent_count() == 1


def test_it_goes_on_when_redis_lost_the_lock(schedulers: list[SoleScheduler]) -> None:
    _run(schedulers[0])
    redis.client().delete("scheduler")

    assert schedulers[0].tick() == STANDBY_SECONDS
    assert not schedulers[0]._is_sole

    _run(schedulers[0])
    assert schedulers[0]._is_sole
    assert _sent_count() == 1


def test_the_lock_needs_no_session_of_the_database(schedulers: list[SoleScheduler]) -> None:
    """As behind PgBouncer, where each transaction may have another."""
    for _ in range(2):
        for scheduler in schedulers:
            connection.close()
            _run(scheduler)

    assert [scheduler._is_sole for scheduler in schedulers] == [True, False, False]


def test_it_stands_by_while_redis_does_not_answer(
    schedulers: list[SoleScheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(schedulers[0])

    with monkeypatch.context() as patch:
        patch.setattr(redis.breaker, "is_open", True)
        assert [scheduler.tick() for scheduler in schedulers] == [STANDBY_SECONDS] * 3
    for scheduler in schedulers:
        _run(scheduler)

    assert [scheduler._is_sole for scheduler in schedulers] == [True, False, False]


def test_it_reads_schedules_made_after_it_began(schedulers: list[SoleScheduler], due: PeriodicTask) -> None:
    _run(schedulers[0])
    due.pk = None
    due.name = "later"
    due.save()

    _run(schedulers[0])

    assert _sent_count() == 2


def test_schedules_go_on_when_the_clock_was_set_back(
    schedulers: list[SoleScheduler], due: PeriodicTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    due.interval, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    due.save()
    with monkeypatch.context() as patch:
        later = timezone.now() + timedelta(hours=1)
        patch.setattr(timezone, "now", lambda: later)
        patch.setattr(PastEntry, "_default_now", lambda _entry: later)
        _run(schedulers[0])
    before = _sent_count()

    _run(schedulers[0])
    time.sleep(1.1)
    _run(schedulers[0])

    assert _sent_count() == before + 1


def test_schedulers_and_workers_show_that_they_live(
    schedulers: list[SoleScheduler], settings: Any, tmp_path: Path
) -> None:
    for show in (schedulers[0].tick, schedulers[1].tick, lambda: heartbeat_sent.send(sender=None)):
        settings.HEARTBEAT_PATH = str(tmp_path / "heartbeat")
        show()
        (tmp_path / "heartbeat").unlink()
        # A path that cannot be written ends nothing.
        settings.HEARTBEAT_PATH = str(tmp_path / "none/heartbeat")
        show()
