"""The clock: of several, exactly one sends, and another takes over when it goes."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from celery import current_app
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from core import redis
from titanic_site.beat import SoleScheduler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clocks() -> Iterator[list[SoleScheduler]]:
    """Three, as on three machines."""
    found = [SoleScheduler(app=current_app, max_interval=5) for _ in range(3)]
    yield found
    for clock in found:
        clock.close()


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


def _run(clock: SoleScheduler) -> None:
    """A clock's rounds until it wants to sleep, and the note of what it sent."""
    while clock.tick() == 0:
        pass
    if clock.should_sync():
        clock._do_sync()


def _sent_count() -> int:
    return int(redis.client().llen("test"))


def test_it_works(clocks: list[SoleScheduler]) -> None:
    for _ in range(2):
        for clock in clocks:
            _run(clock)

    assert _sent_count() == 1
    assert PeriodicTask.objects.get(name="due").total_run_count == 1


def test_another_takes_over_and_knows_what_was_sent(clocks: list[SoleScheduler]) -> None:
    for clock in clocks:
        _run(clock)

    clocks[0].close()
    deadline = time.monotonic() + 10
    # Postgres lets the lock go when it comes to the end of the session.
    while not clocks[1]._is_sole and time.monotonic() < deadline:
        _run(clocks[1])
    _run(clocks[2])

    assert _sent_count() == 1
    assert clocks[1]._is_sole
    assert not clocks[2]._is_sole


def test_it_goes_on_when_the_database_ends_its_session(clocks: list[SoleScheduler]) -> None:
    _run(clocks[0])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    assert clocks[0].tick() == 5
    assert not clocks[0]._is_sole

    _run(clocks[0])
    assert clocks[0]._is_sole
    assert _sent_count() == 1


def test_it_reads_schedules_made_after_it_began(clocks: list[SoleScheduler], due: PeriodicTask) -> None:
    _run(clocks[0])
    due.pk = None
    due.name = "later"
    due.save()

    _run(clocks[0])

    assert _sent_count() == 2
