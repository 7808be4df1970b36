"""Bounded waits for PostgreSQL: what works as before, what is cancelled, what is given up."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO

import pytest
from django.db import OperationalError, connection, connections, transaction
from psycopg2.extensions import set_wait_callback

from core import postgres_waits
from core.errors import DeadlineExceeded, Unavailable, to_api_error
from core.postgres_copy import copy_rows
from predictions import log, outcomes, services
from predictions.models import Outcome, Prediction
from tests.people import CAST

#: What COPY and INSERT each have a way to get wrong.
TEXTS = ["plain", 'a "quote"', "back\\slash", "two\nlines", "\ttab", "Ünïcödé 🚢", "$1 %s", "\\N", None]


@contextmanager
def bounded() -> Iterator[None]:
    """As in a web process; the fixtures of other tests COPY."""
    postgres_waits.install()
    try:
        yield
    finally:
        set_wait_callback(None)


@pytest.fixture
def _bounded() -> Iterator[None]:
    with bounded():
        yield


@pytest.mark.usefixtures("_bounded", "db")
def test_it_works() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT generate_series(1, 100000)")
        assert len(cursor.fetchall()) == 100_000


@pytest.mark.usefixtures("_bounded", "db")
def test_a_statement_may_take_long_while_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_waits, "SILENCE_SECONDS", 0.02)

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.2)")

    assert not postgres_waits.breaker.is_open


@pytest.mark.usefixtures("_bounded", "db")
def test_a_statement_beyond_its_limit_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_waits, "SILENCE_SECONDS", 0.02)
    monkeypatch.setattr(postgres_waits, "STATEMENT_SECONDS", 0.1)
    began = time.monotonic()

    with pytest.raises(OperationalError) as raised, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")

    assert time.monotonic() - began < 20
    assert isinstance(to_api_error(raised.value), DeadlineExceeded)
    # The connection goes on.
    assert not Prediction.objects.exists()


@pytest.mark.usefixtures("_bounded")
@pytest.mark.django_db(transaction=True)
def test_while_the_circuit_is_open_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(postgres_waits.breaker, "is_open", True)
        for _ in range(2):
            with pytest.raises(OperationalError, match="does not answer") as raised:
                Prediction.objects.exists()
            assert isinstance(to_api_error(raised.value), Unavailable)
            connection.close()

    assert not Prediction.objects.exists()


def test_a_refused_connection_is_an_answer(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")

    assert postgres_waits._probe()


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("is_bounded", [False, True])
def test_rows_arrive_the_same_by_copy_and_by_insert(is_bounded: bool) -> None:
    with bounded() if is_bounded else nullcontext(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE kinds (n bigint, text text, x float8, flag boolean) ON COMMIT DROP")
        copy_rows("kinds", ("n", "text", "x", "flag"), [(n, text, n / 7, n > 2) for n, text in enumerate(TEXTS)])
        cursor.execute("SELECT n, text, x, flag FROM kinds ORDER BY n")
        rows = cursor.fetchall()

    assert rows == [(n, text, n / 7, n > 2) for n, text in enumerate(TEXTS)]


@pytest.mark.usefixtures("champion")
def test_predictions_and_outcomes_go_straight_to_postgres_once() -> None:
    _answers, entries = services.score(services.parse_batch([CAST[0]] * 30))
    lines = "".join(f"{entry.id},true\n" for entry in entries)

    with bounded():
        log.insert(entries)
        log.insert(entries)
        summary = outcomes.record_file(BytesIO(f"prediction_id,survived\n{lines}".encode()), by=None)

    assert Prediction.objects.count() == Outcome.objects.count() == summary.recorded == 30
