"""What several callers ask at the same time is scored and logged in one go, once each, and told when it is."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import InterfaceError, OperationalError, connection

from features import definition
from ingestion import passenger
from predictions import log, metrics, scorer, services, together
from predictions.models import Prediction
from tests.people import CAST
from tests.services import log_away
from titanic_site.lib import redis
from titanic_site.lib.errors import Unavailable
from training.models import ModelVersion

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/predictions/"
AGE_OF_WOE = 13.0


class Callers:
    """Some who ask at a desk, and what they hear."""

    def __init__(self, desk: together.Desk) -> None:
        self.desk = desk
        self.told: list[Any] = []
        self.have_gone = False

    def come(self, path: str = PATH) -> together.Later:
        return self.desk.expect(path)

    def ask(self, later: together.Later, person: dict[str, Any], *, tell: Any = lambda answers: answers[0]) -> None:
        self.desk.arrive(later)
        later.asked = together.Asked(services.about_one(person), tell)
        self.desk.leave(later, self._hear, lambda: self.have_gone)

    def hear(self, count: int) -> list[Any]:
        """What so many were told, or those that were told anything within a while."""
        end = time.monotonic() + 20
        while len(self.told) < count and time.monotonic() < end:
            time.sleep(0.01)
        return list(self.told)

    def _hear(self, outcome: bytes | Exception) -> None:
        if isinstance(outcome, bytes):
            answer = msgspec.json.decode(outcome)
            # Before it is told.
            assert log.find(UUID(answer["id"])) is not None
            self.told.append(answer["probability"])
        else:
            self.told.append(type(outcome))


@pytest.fixture
def callers(champion: ModelVersion) -> Iterator[Callers]:
    """At a desk where one has asked already, so that others are waited for."""
    callers = Callers(together.Desk())
    callers.ask(callers.come(), CAST[0])
    callers.hear(1)
    log.drain()
    callers.told.clear()
    yield callers
    callers.desk._clerk.submit(lambda: connection.close()).result()  # noqa: PLW0108 - each thread has its own


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much that nobody is answered for want of it."""
    monkeypatch.setattr(together, "PATIENCE", 60.0)


def expected(person: dict[str, Any]) -> float:
    row = services.about_one(person).rows
    return float(scorer.current().score(passenger.columns_of(row)).probabilities[0])


def test_each_hears_their_own_answer_and_is_logged_once(callers: Callers) -> None:
    people = [{**CAST[number % len(CAST)], "age": number % 70} for number in range(300)]
    asking = [Callers(callers.desk) for _ in people]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one, person: one.ask(one.come(), person), asking, people))

    assert [one.hear(1) for one in asking] == [[expected(person)] for person in people]
    assert log.drain() == 300


@pytest.mark.usefixtures("patience")
def test_those_about_to_come_are_waited_for_and_logged_in_one_entry(callers: Callers) -> None:
    coming = [callers.come() for _ in range(5)]

    for number, later in enumerate(coming):
        assert callers.told == []
        callers.ask(later, CAST[number % len(CAST)])

    assert callers.hear(5) == [expected(CAST[number % len(CAST)]) for number in range(5)]
    assert (log.backlog(), redis.client().xlen(log.STREAM)) == (5, 1)


@pytest.mark.usefixtures("patience")
def test_as_many_as_are_answered_at_a_time_wait_for_nobody(callers: Callers) -> None:
    coming = [callers.come() for _ in range(together.MOST + 1)]

    for later in coming[:-1]:
        callers.ask(later, CAST[0])

    assert len(callers.hear(together.MOST)) == together.MOST


@pytest.mark.usefixtures("patience")
def test_nobody_waits_for_what_asks_nothing_or_was_never_asked_there(callers: Callers) -> None:
    callers.come("/api/v1/training/")
    callers.ask(callers.come(), CAST[0])
    assert callers.hear(1) == [expected(CAST[0])]

    refused = callers.come()
    callers.ask(callers.come(), CAST[1])
    time.sleep(0.1)
    assert len(callers.told) == 1
    callers.desk.arrive(refused)
    assert callers.hear(2) == [expected(CAST[0]), expected(CAST[1])]


def test_who_is_about_to_come_for_ever_holds_up_nobody(callers: Callers) -> None:
    callers.come()

    for number in range(3):
        callers.ask(callers.come(), CAST[0])
        assert len(callers.hear(number + 1)) == number + 1


@pytest.mark.usefixtures("patience")
def test_who_has_given_up_is_neither_answered_nor_logged(callers: Callers) -> None:
    gone = Callers(callers.desk)
    coming = [gone.come(), callers.come()]
    gone.ask(coming[0], CAST[0])
    gone.have_gone = True
    callers.ask(coming[1], CAST[1])

    assert callers.hear(1) == [expected(CAST[1])]
    assert gone.told == []
    assert log.drain() == 1


def test_all_who_wait_hear_that_it_failed_and_the_next_are_served(callers: Callers) -> None:
    before = _counted()
    coming = [callers.come(), callers.come()]
    with log_away():
        for later in coming:
            callers.ask(later, CAST[0])
        callers.hear(2)
    callers.ask(callers.come(), CAST[0])

    assert callers.hear(3) == [Unavailable, Unavailable, expected(CAST[0])]
    assert log.backlog() == _counted() - before == 1


def test_who_cannot_be_told_stops_nobody_else(callers: Callers, caplog: pytest.LogCaptureFixture) -> None:
    later, coming = callers.come(), callers.come()
    callers.desk.arrive(later)
    later.asked = together.Asked(services.about_one(CAST[0]), lambda answers: answers[0])
    callers.desk.leave(later, lambda _outcome: 1 // 0, lambda: False)

    callers.ask(coming, CAST[1])

    assert callers.hear(1) == [expected(CAST[1])]
    assert "could not be told" in caplog.text


def test_a_connection_that_broke_is_not_used_again(callers: Callers) -> None:
    break_up = "SELECT pg_terminate_backend(pg_backend_pid())"

    def lose() -> None:
        with pytest.raises((OperationalError, InterfaceError)), connection.cursor() as cursor:
            cursor.execute(break_up)

    callers.desk._clerk.submit(lose).result()
    redis.client().config_set("min-replicas-to-write", 1)
    try:
        callers.ask(callers.come(), CAST[0])
        assert callers.hear(1) == [expected(CAST[0])]
    finally:
        redis.client().config_set("min-replicas-to-write", 0)

    assert Prediction.objects.count() == 2


def test_what_fails_for_one_does_not_fail_for_the_others(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    right = expected(CAST[0])
    derive = definition.derive

    def fragile(columns: Any) -> Any:
        if AGE_OF_WOE in columns["age"]:
            raise ZeroDivisionError
        return derive(columns)

    monkeypatch.setattr(scorer, "derive", fragile)
    monkeypatch.setattr(together, "PATIENCE", 60.0)
    coming = [callers.come() for _ in range(4)]
    callers.ask(coming[0], CAST[0])
    callers.ask(coming[1], {**CAST[0], "age": AGE_OF_WOE})
    callers.ask(coming[2], CAST[0], tell=lambda _answers: object())
    callers.ask(coming[3], CAST[0])

    assert callers.hear(4) == [right, ZeroDivisionError, TypeError, right]
    assert log.drain() == 3
    assert Prediction.objects.count() == 4


def _counted() -> float:
    versions = ModelVersion.objects.values_list("version", flat=True)
    return float(sum(metrics.counter_of(v, s, "api")._value.get() for v in versions for s in (True, False)))
