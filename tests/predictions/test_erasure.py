"""A person's predictions: found, downloaded and erased, wherever they are."""

import json
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.http import Http404
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError

from core.advisory_locks import AdvisoryLock, try_lock
from core.errors import Invalid
from core.models import AuditEntry
from predictions import erasure, log, outcomes, services
from predictions.log import stream
from predictions.log.entries import encode
from predictions.models import DeadLetter, Outcome, Prediction, ShadowScore
from tests.people import ELISABETH, OWEN
from tests.predictions.test_log import entry
from tests.users import make_user
from training.models import ModelVersion

URL = "/predictions/erase/"
NAME = OWEN["name"]


def ask(*people: dict[str, Any]) -> list[UUID]:
    return [UUID(answer.id) for answer in services.predict(services.parse_batch(list(people)))]


def post(client: Client, action: str, value: object = NAME, field: str = "name", **more: str) -> Any:
    return client.post(URL, {"action": action, "field": field, "value": str(value), **more})


def test_it_erases_rows_outcomes_and_shadow_scores_and_keeps_the_number_alone(
    champion: ModelVersion, client: Client
) -> None:
    one, other, two = ask(OWEN, ELISABETH, OWEN)
    log.drain()
    (three,) = ask(OWEN)
    for pk in (one, other, two, three):
        outcomes.record(pk, actual=True, by=None)
        ShadowScore.objects.create(
            model_version=2, prediction_id=pk, probability=0.5, predicted=True, created_at=timezone.now()
        )

    found = post(client, "find", f" {NAME} ")
    unsure = post(client, "erase")
    erased = post(client, "erase", confirmed="on")

    assert "3 predictions." in found.text
    assert (unsure.status_code, "Tick the box" in unsure.text) == (400, True)
    assert erased.status_code == 302
    assert "3 predictions erased." in client.get(URL).text
    for rows in (Prediction.objects.values_list("pk"), Outcome.objects.values_list("pk")):
        assert list(rows) == [(other,)]
    assert list(ShadowScore.objects.values_list("prediction_id")) == [(other,)]
    assert client.get(f"/predictions/{one}/").status_code == 404
    row = AuditEntry.objects.get(action="erased")
    assert (row.object_name, row.after) == ("predictions", {"by": "name", "count": 3})
    assert NAME not in json.dumps(list(AuditEntry.objects.values()), default=str)


def test_one_is_erased_by_its_id(champion: ModelVersion, client: Client) -> None:
    one, other = ask(OWEN, OWEN)

    post(client, "erase", str(one).upper(), field="id", confirmed="on")

    assert [row.pk for row in Prediction.objects.all()] == [other]


def test_they_are_erased_by_the_caller_s_own_id(champion: ModelVersion, client: Client) -> None:
    ask({**OWEN, "reference": "order-17"})
    log.drain()
    ask({**ELISABETH, "reference": "order-17"})
    (other,) = ask({**OWEN, "name": "order-17"})
    DeadLetter.objects.create(
        entry_id="1-0", raw=encode([entry(reference="order-17", model_version=2**40)]), error="", attempts=3
    )

    downloaded = b"".join(post(client, "download", "order-17", field="reference").streaming_content).decode()
    erased = post(client, "erase", "order-17", field="reference", confirmed="on")

    assert (downloaded.count("order-17"), "reference" in downloaded.splitlines()[0]) == (2, True)
    assert erased.status_code == 302
    assert [row.pk for row in Prediction.objects.all()] == [other]
    assert not DeadLetter.objects.exists()
    assert AuditEntry.objects.get(action="erased").after == {"by": "reference", "count": 3}


def test_they_are_downloaded_with_their_outcomes(champion: ModelVersion, client: Client) -> None:
    name = "=1+1, Mr. X"
    (one,) = ask({**OWEN, "name": name})
    ask(ELISABETH)
    log.drain()
    outcomes.record(one, actual=True, by=None)

    answer = post(client, "download", name)

    header, row = b"".join(answer.streaming_content).decode().splitlines()
    assert {"id", "name", "survived"} <= set(header.split(","))
    assert (str(one) in row, "'=1+1, Mr. X" in row, row.endswith(",True")) == (True, True, True)
    assert AuditEntry.objects.get(action="downloaded").after == {"by": "name", "count": 1}


def test_what_postgres_rejects_is_erased_line_by_line_from_stream_and_dead_letters(db: None) -> None:
    bad = {"model_version": 2**40}
    kept, gone = entry(name="Kept", **bad), entry(name=NAME, **bad)
    log.append([kept, gone])
    log.append([entry(name=NAME, **bad)])
    DeadLetter.objects.create(entry_id="1-0", raw=encode([gone, kept]), error=f"line 1: {NAME}", attempts=3)
    DeadLetter.objects.create(entry_id="2-0", raw=encode([entry(id="none", name=NAME)]), error=NAME, attempts=3)
    DeadLetter.objects.create(entry_id="3-0", raw=b'["%s", 1' % NAME.encode(), error="", attempts=3)
    DeadLetter.objects.create(entry_id="4-0", raw=b"\xff\0", error="", attempts=3)

    count = erasure.erase("name", NAME)

    assert count == 4
    assert [one.raw for batch in stream.read() for one in batch] == [encode([kept])]
    assert log.backlog() == 1
    letters = {letter.entry_id: (bytes(letter.raw), letter.error) for letter in DeadLetter.objects.all()}
    assert letters == {"1-0": (encode([kept]), ""), "4-0": (b"\xff\0", "")}


def test_the_page_erases_what_only_a_dead_letter_holds(db: None, client: Client) -> None:
    DeadLetter.objects.create(entry_id="1-0", raw=encode([entry(name=NAME)]), error="", attempts=3)

    assert 'name="confirmed"' in post(client, "find").text
    post(client, "erase", confirmed="on")

    assert not DeadLetter.objects.exists()


def test_a_drainer_stores_nothing_that_was_erased_before_it_had_the_lock(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = entry(name=NAME), entry(name="Other")
    log.append([one, other])

    def late(name: AdvisoryLock) -> bool:
        monkeypatch.undo()
        with transaction.atomic():
            log.erase_unstored("name", NAME)
        return try_lock(name)

    monkeypatch.setattr("predictions.log.drainer.try_lock", late)

    assert log.drain() == 1
    assert [row.name for row in Prediction.objects.all()] == ["Other"]
    with pytest.raises(Http404):
        log.get(UUID(str(one.id)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x"), ("id", ""), ("id", "1' OR '1'='1"), ("name", ""), ("name", "  "), ("name", "a\0b"),
        ("name", "x" * 201), ("name", "\x1b"), ("sex", "male"), ("pk__gte", str(UUID(int=0))), ("", ""),
        ("survived", "1"), ("name", "x" * 10_000), ("reference", "x" * 101), ("reference", "a\0b"), ("anonymous", "1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("action", ["find", "download", "erase"])
def test_what_cannot_be_searched_is_refused(
    champion: ModelVersion, client: Client, action: str, field: str, value: str
) -> None:
    ask(OWEN)

    assert post(client, action, value, field, confirmed="on").status_code == 400
    assert log.backlog() + Prediction.objects.count() == 1
    with pytest.raises(Invalid):
        erasure.erase(field, value)


def test_without_redis_nothing_is_erased(champion: ModelVersion, client: Client, monkeypatch: Any) -> None:
    (one,) = ask(OWEN)
    log.drain()

    def away(*_: object, **__: object) -> None:
        raise RedisConnectionError

    monkeypatch.setattr(stream, "backlog", away)

    assert post(client, "erase", confirmed="on").status_code == 503
    assert Prediction.objects.get().pk == one


@pytest.mark.usefixtures("login_required")
def test_it_is_an_operator_s(champion: ModelVersion, client: Client) -> None:
    client.force_login(make_user("operator"))
    assert URL in client.get("/predictions/").text
    client.force_login(make_user("analyst", "analyst"))

    assert URL not in client.get("/predictions/").text
    assert client.get(URL).status_code == post(client, "erase", confirmed="on").status_code == 403


def test_the_command_counts_and_erases_when_told(champion: ModelVersion) -> None:
    ask(OWEN, OWEN, ELISABETH)
    out = StringIO()

    call_command("erase_predictions", "name", NAME, stdout=out)
    assert Prediction.objects.count() == 3
    call_command("erase_predictions", "name", NAME, "--yes", stdout=out)

    assert out.getvalue().splitlines() == ["2 predictions.", "2 predictions erased."]
    assert Prediction.objects.count() == 1
    for value in ("x", "", "\udcff"):
        with pytest.raises(CommandError, match="value: "):
            call_command("erase_predictions", "id", value, "--yes")
