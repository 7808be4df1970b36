"""What several requests predicted at the same time is logged in one go, once each, and told when it is."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from predictions import log, metrics, together
from predictions.models import Prediction
from tests.services import log_away
from tests.test_log import entry
from titanic_site.lib.errors import Unavailable

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_is_logged_once_and_told_when_it_is() -> None:
    desk, told = together.Desk(), list[Any]()
    predictions = [entry() for _ in range(300)]

    def hand_in(one: log.Entry) -> None:
        desk.hand_in([one], lambda failure: told.append((failure, log.find(one.id) is not None)))
        connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hand_in, predictions))

    assert told == [(None, True)] * 300
    assert log.drain() == 300
    assert set(Prediction.objects.values_list("pk", flat=True)) == {one.id for one in predictions}


def test_what_waited_meanwhile_is_logged_in_one_entry() -> None:
    desk, told = together.Desk(), list[Any]()

    def more_come(failure: Exception | None) -> None:
        told.append(failure)
        for _ in range(10):
            desk.hand_in([entry()], told.append)

    desk.hand_in([entry()], more_come)

    assert told == [None] * 11
    assert log.backlog() == 11
    assert log.redis.client().xlen(log.STREAM) == 2


def test_all_who_wait_hear_that_it_failed_and_the_next_are_served() -> None:
    desk, told = together.Desk(), list[Any]()
    counter = metrics.counter_of(1, False, "api")
    before = counter._value.get()

    with log_away():
        desk.hand_in([entry(), entry()], told.append)
    desk.hand_in([entry()], told.append)

    assert [type(outcome) for outcome in told] == [Unavailable, type(None)]
    assert log.backlog() == counter._value.get() - before == 1


def test_what_is_asked_by_itself_is_logged_by_itself() -> None:
    (_nothing, left), one = together.gathered(lambda: together.append([entry()])), entry()

    together.append([one])

    assert len(left) == 1
    assert (log.backlog(), log.drain()) == (1, 1)
    assert Prediction.objects.get().pk == one.id
