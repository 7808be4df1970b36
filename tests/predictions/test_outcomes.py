"""Outcomes: what really happened, recorded once."""

import io
import tracemalloc
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Conflict
from core.models import AuditEntry
from ingestion import table
from ingestion.passenger import LABEL_WORDS
from predictions import log, outcomes, services, shadow
from predictions.models import Outcome
from tests.people import OWEN
from tests.users import make_user
from training import registry
from training.models import ModelVersion, Stage, TrainingRun


@pytest.fixture
def prediction_id(api: APIClient, champion: ModelVersion) -> str:
    return str(api.post("/api/v1/predictions/", OWEN, format="json").json()["id"])


def test_it_works(api: APIClient, prediction_id: str) -> None:
    url = f"/api/v1/predictions/{prediction_id}/outcome/"

    answers = [api.post(url, {"survived": survived}, format="json") for survived in (False, False, True)]

    assert [answer.status_code for answer in answers] == [201, 200, 409]
    assert api.get(url).json() == answers[0].json()
    assert answers[0].json()["survived"] is False
    assert answers[2].json()["errors"][0]["attr"] == "survived"
    assert Outcome.objects.get().actual is False


@pytest.mark.parametrize(
    "body",
    [{}, {"survived": None}, {"survived": "true"}, {"survived": 1}, {"survived": []}, {"survived": True, "x": 1}],
)
def test_what_is_no_outcome_is_refused(api: APIClient, prediction_id: str, body: dict[str, Any]) -> None:
    answer = api.post(f"/api/v1/predictions/{prediction_id}/outcome/", body, format="json")

    assert answer.status_code == 400
    assert not Outcome.objects.exists()


def test_of_a_prediction_that_was_never_made_there_is_none(api: APIClient, champion: ModelVersion) -> None:
    url = f"/api/v1/predictions/{uuid4()}/outcome/"

    assert api.post(url, {"survived": True}, format="json").status_code == 404
    assert api.get(url).status_code == 404


def test_it_is_recorded_on_the_prediction_s_page(client: Client, prediction_id: str) -> None:
    log.drain()
    page = f"/predictions/{prediction_id}/"
    assert "What really happened?" in client.get(page).text

    answer = client.post(f"{page}outcome/", {"survived": "1"}, follow=True)

    assert "What really happened:" in answer.text
    assert client.post(f"{page}outcome/", {"survived": "0"}).status_code == 409
    assert client.post(f"{page}outcome/", {"survived": "x"}).status_code == 400
    assert client.get(f"{page}outcome/").status_code == 405


def test_an_operator_corrects_it_and_the_trail_keeps_the_old_one(
    api: APIClient, client: Client, prediction_id: str
) -> None:
    log.drain()
    page, call = f"/predictions/{prediction_id}/", f"/api/v1/predictions/{prediction_id}/outcome/"
    assert api.post(f"{call}correct/", {"survived": True}, format="json").status_code == 404
    assert api.post(call, {"survived": False}, format="json").status_code == 201
    shown = client.get(page).text
    assert f"{page}outcome/correct/" in shown
    assert f"Correct to “{LABEL_WORDS[True]}”" in shown

    answer = client.post(f"{page}outcome/correct/", {"survived": "1"}, follow=True)
    again = api.post(f"{call}correct/", {"survived": True}, format="json")

    assert "Corrected." in answer.text
    assert (again.status_code, again.json()["survived"]) == (200, True)
    entry = AuditEntry.objects.get(action="corrected")
    assert (entry.before["actual"], entry.after["actual"], entry.object_id) == (False, True, prediction_id)
    assert entry.before["by"] == "caller"


@pytest.mark.parametrize("body", [{}, {"survived": None}, {"survived": "true"}, {"survived": True, "x": 1}, []])
def test_what_is_no_correction_is_refused(api: APIClient, client: Client, prediction_id: str, body: Any) -> None:
    api.post(f"/api/v1/predictions/{prediction_id}/outcome/", {"survived": False}, format="json")

    answer = api.post(f"/api/v1/predictions/{prediction_id}/outcome/correct/", body, format="json")

    assert answer.status_code == 400
    assert client.post(f"/predictions/{prediction_id}/outcome/correct/", {"survived": "x"}).status_code == 400
    assert client.post(f"/predictions/{uuid4()}/outcome/correct/", {"survived": "1"}).status_code == 404
    assert Outcome.objects.get().actual is False


@pytest.mark.usefixtures("login_required")
def test_an_analyst_corrects_none(client: Client, prediction_id: str) -> None:
    log.drain()
    outcomes.record(UUID(prediction_id), actual=False, by=None)
    client.force_login(make_user("analyst", "analyst"))

    assert "outcome/correct/" not in client.get(f"/predictions/{prediction_id}/").text
    assert client.post(f"/predictions/{prediction_id}/outcome/correct/", {"survived": "1"}).status_code == 403


def test_a_challenger_is_compared_on_outcomes(api: APIClient, prediction_id: str, champion: ModelVersion) -> None:
    fields = {item.name: getattr(champion, item.name) for item in ModelVersion._meta.fields if item.name != "id"}
    run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
    challenger = ModelVersion.objects.create(**{**fields, "version": 2, "run": run, "stage": Stage.CANDIDATE})
    registry.start_shadow(challenger, by=None)
    api.post(f"/api/v1/predictions/{prediction_id}/outcome/", {"survived": False}, format="json")
    log.drain()
    shadow.score_all()

    found = api.get("/api/v1/shadow/2/").json()

    assert found["outcome_count"] == 1
    assert found["logged"] == found["shadow"]
    assert found["logged"]["accuracy"] == 1


# A file


def upload(client: Client, text: str | bytes) -> Any:
    data = text.encode() if isinstance(text, str) else text
    return client.post("/predictions/outcomes/", {"file": SimpleUploadedFile("outcomes.csv", data)})


def ask(count: int) -> list[UUID]:
    return [UUID(answer.id) for answer in services.predict(services.parse_batch([OWEN] * count))]


def test_a_file_is_recorded_and_the_same_again_changes_nothing(champion: ModelVersion, client: Client) -> None:
    one, two, three = ask(3)
    text = f"prediction_id,survived\n{one},1\n{two},0\n{three},TRUE\n"

    first, again = upload(client, text), upload(client, text)

    assert (first.context["recorded"].recorded, again.context["recorded"].unchanged) == (3, 3)
    assert again.context["recorded"].recorded == again.context["recorded"].problem_count == 0
    assert dict(Outcome.objects.values_list("prediction_id", "actual")) == {one: True, two: False, three: True}
    assert "Result of the file" in first.text


def test_it_is_recorded_by_whom_it_was(champion: ModelVersion, client: Client, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.get(username="admin"))

    upload(client, f"prediction_id,survived\n{ask(1)[0]},1\n")

    assert Outcome.objects.get().by == django_user_model.objects.get(username="admin")


def test_each_wrong_line_is_named_and_the_good_ones_are_recorded(champion: ModelVersion, client: Client) -> None:
    good, other, changed, twice = ask(4)
    log.drain()
    outcomes.record(changed, actual=True, by=None)
    unknown = uuid4()
    lines = [
        "SURVIVED,note,Prediction ID", f'1,"x\ny",{good}', "", "1,,not-an-id", f"maybe,,{other}", f"0,,{changed}",
        f"1,,{unknown}", f"1,,{twice}", f"0,,{twice}", f"1,,{twice}", "1,", f"1,,{{{good}}}", f"1,,{good.hex}",
        f",,{good}", "1,,\0", "1,,1' OR '1'='1", f"0,,{other}\t",
    ]  # fmt: skip

    page = upload(client, "\n".join(lines))

    summary = page.context["recorded"]
    assert (summary.recorded, summary.unchanged, summary.empty) == (3, 1, 1)
    reasons = {problem.row: problem.detail for problem in summary.problems}
    assert list(reasons) == [5, 6, 7, 8, 10, 12, 13, 14, 16, 17]
    assert (summary.invalid, summary.unknown, summary.conflicting) == (7, 1, 2)
    assert reasons[8] == "There is no such prediction."
    assert reasons[10] == reasons[7] == "Another outcome is recorded for this prediction; an operator can correct it."
    assert Outcome.objects.get(pk=twice).actual is True
    assert Outcome.objects.get(pk=other).actual is False
    assert "not the id of a prediction" in page.text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"prediction_id\nx\n", "no column survived"),
        (b"prediction_id,survived,Prediction_ID\nx,1,x\n", "twice"),
        (b"\xff\xfei\0d\0", "no column survived"),
        (b"%PDF-1.7", "a PDF document"),
        (b'prediction_id,survived\n"x,1\n' * 3, "quote"),
        (b"\0\0\0\0", "no text"),
        (b"\x1f\x8b broken", "damaged or breaks off"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(
    champion: ModelVersion, client: Client, data: bytes, reason: str
) -> None:
    page = upload(client, data)

    assert page.status_code == 400
    assert reason in page.text
    assert "What really happened, as a file" in page.text
    assert page.context["form"].errors.keys() == {"file"}
    assert not Outcome.objects.exists()


def test_without_a_file_the_form_says_so(champion: ModelVersion, client: Client) -> None:
    assert "What really happened, as a file" in client.get("/predictions/").text
    assert client.get("/predictions/outcomes/").status_code == 200
    assert client.post("/predictions/outcomes/", {}).status_code == 400
    assert client.post("/predictions/outcomes/", {"file": "x"}).status_code == 400


@pytest.mark.parametrize("label", ["1", " Yes", "TRUE", "survived"])
def test_a_file_in_another_dialect_is_recorded(champion: ModelVersion, client: Client, label: str) -> None:
    (first, second) = ask(2)
    text = f"prediction_id;survived\n{first};{label}\n{second};n/a\n"

    recorded = upload(client, text.encode("utf-16")).context["recorded"]

    assert (recorded.recorded, recorded.empty) == (1, 1)
    assert Outcome.objects.get().actual


def test_a_file_without_lines_records_nothing(champion: ModelVersion, client: Client) -> None:
    assert upload(client, "prediction_id,survived\n").context["recorded"].row_count == 0


def test_where_a_file_breaks_off_the_blocks_before_are_recorded(
    champion: ModelVersion, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BLOCK_BYTES", 200)
    ids = ask(20)
    text = "prediction_id,survived\n" + "".join(f"{pk},1\n" for pk in ids)

    page = upload(client, text.encode() + b'"x,1\n')

    assert page.status_code == 400
    assert 0 < Outcome.objects.count() <= 20


def test_a_file_that_is_too_long_is_refused_where_it_is(
    champion: ModelVersion, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BLOCK_BYTES", 200)
    monkeypatch.setattr(outcomes, "MAX_LINES", 10)

    page = upload(client, "prediction_id,survived\n" + f"{uuid4()},1\n" * 1000)

    assert page.status_code == 413
    assert "more than 10 lines" in page.context["form"].errors["file"][0]


def test_a_long_file_is_read_in_pieces_and_its_first_wrong_lines_are_shown(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "BLOCK_BYTES", 64 * 1024)
    wrong, unknown = 40_000, 1_000
    file = io.BytesIO(b"prediction_id,survived\n" + b"x,1\n" * wrong + f"{uuid4()},1\n".encode() * unknown)
    outcomes.record_file(io.BytesIO(b"prediction_id,survived\nx,1\n"), by=None)

    tracemalloc.start()
    summary = outcomes.record_file(file, by=None)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert summary.problem_count == wrong + unknown
    assert len(summary.problems) == outcomes.PROBLEMS_SHOWN
    # All lines at once would take some ten.
    assert most < 5 * 1024**2


def test_the_first_wrong_lines_of_the_file_are_shown_whatever_is_wrong_with_them(
    champion: ModelVersion, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "PROBLEMS_SHOWN", 3)
    (good,) = ask(1)
    lines = ["prediction_id,survived", f"{good},1", f"{uuid4()},1", "x,1", "a,b,c", "a,b,c", "x,1"]

    summary = upload(client, "\n".join(lines)).context["recorded"]

    assert summary.problem_count == 5
    assert [problem.row for problem in summary.problems] == [3, 4, 5]


@pytest.mark.django_db(transaction=True)
def test_two_files_at_once_with_the_same_predictions_in_another_order_are_both_recorded(
    champion: ModelVersion,
) -> None:
    ids = ask(2000)
    log.drain()
    summaries: list[outcomes.OutcomeSummary] = []

    def send(order: list[UUID]) -> None:
        text = "prediction_id,survived\n" + "".join(f"{pk},1\n" for pk in order)
        summaries.append(outcomes.record_file(io.BytesIO(text.encode()), by=None))
        connection.close()

    threads = [Thread(target=send, args=(order,)) for order in (ids, ids[::-1], ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(summary.recorded for summary in summaries) == 2000
    assert [summary.row_count for summary in summaries] == [2000] * 4
    assert sum(summary.problem_count for summary in summaries) == 0


@pytest.mark.django_db(transaction=True)
def test_of_two_different_outcomes_at_once_one_is_recorded(api: APIClient, prediction_id: str) -> None:
    codes: list[str] = []

    def say(survived: bool) -> None:
        try:
            codes.append(str(outcomes.record(UUID(prediction_id), actual=survived, by=None)[1]))
        except Conflict:
            codes.append("conflict")
        connection.close()

    threads = [Thread(target=say, args=(survived,)) for survived in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(codes) == ["True", "conflict"]


@pytest.mark.parametrize("key", ["x", "1", "0" * 36, "..%2f..", "%00", "a" * 10_000])
def test_what_is_no_id_of_a_prediction_is_not_found(api: APIClient, champion: ModelVersion, key: str) -> None:
    assert api.post(f"/api/v1/predictions/{key}/outcome/", {"survived": True}, format="json").status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff", b'{"survived": tru', b'{"survived": "\x00"}', b"1" * 5000]
)
def test_a_body_that_is_no_object_is_refused(api: APIClient, prediction_id: str, body: bytes) -> None:
    answer = api.post(f"/api/v1/predictions/{prediction_id}/outcome/", body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.json()["errors"]


# Many at once, by the API


MANY = "/api/v1/outcomes/"


def ask_by_reference(api: APIClient, *references: str) -> list[str]:
    instances = [{**OWEN, "reference": reference} for reference in references]
    answer = api.post("/api/v1/predictions/batch/", {"instances": instances}, format="json")
    return [row["id"] for row in answer.json()["predictions"]]


def test_a_list_is_recorded_by_id_and_by_reference_and_is_safe_to_repeat(
    api: APIClient, champion: ModelVersion
) -> None:
    one, _two, _twice, _again = ask_by_reference(api, "order-1", "order-2", "twice", "twice")
    sent = [
        {"prediction_id": one.upper(), "survived": True},
        {"reference": " order-2 ", "survived": False},
        {"reference": "order-1", "survived": True},
        {"reference": "order-1", "survived": False},
        {"reference": "twice", "survived": True},
        {"reference": "never", "survived": True},
        {"prediction_id": str(uuid4()), "survived": True},
    ]

    first, again = (api.post(MANY, sent, format="json") for _ in range(2))

    assert (first.status_code, again.status_code) == (200, 200)
    counts = {"empty": 0, "invalid": 0, "unknown": 2, "ambiguous": 1, "conflicting": 1}
    found, repeated = first.json(), again.json()
    assert {name: found[name] for name in counts} == {name: repeated[name] for name in counts} == counts
    assert (found["recorded"], found["unchanged"]) == (2, 1)
    assert (repeated["recorded"], repeated["unchanged"]) == (0, 3)
    assert [(problem["row"], problem["code"]) for problem in found["problems"]] == [
        (3, "conflicting"), (4, "ambiguous"), (5, "unknown"), (6, "unknown")
    ]  # fmt: skip
    assert "give the prediction_id" in found["problems"][1]["detail"]
    assert sorted(Outcome.objects.values_list("actual", flat=True)) == [False, True]
    assert Outcome.objects.filter(by__username="caller").count() == 2
    assert AuditEntry.objects.filter(action="outcome_recorded").count() == 1


@pytest.mark.parametrize("is_upload", [True, False])
def test_csv_is_recorded_as_a_body_and_as_a_file(api: APIClient, champion: ModelVersion, *, is_upload: bool) -> None:
    (one, two, _three) = ask_by_reference(api, "order-1", "=order-2", "order-3")
    # What a spreadsheet would run has a quote before it in downloads.
    data = f"Reference,note,survived,prediction_id\norder-3,x,1,{one}\n'=order-2,,0,\norder-3,,,\n,,1,\n".encode()

    if is_upload:
        answer = api.post(MANY, {"file": SimpleUploadedFile("x.csv", data)}, format="multipart")
    else:
        answer = api.post(MANY, data, content_type="text/csv")

    counts = {name: count for name, count in answer.json().items() if count and name != "problems"}
    assert (answer.status_code, counts) == (200, {"recorded": 2, "empty": 1, "invalid": 1})
    assert answer.json()["problems"][0]["row"] == 5
    assert {str(pk): actual for pk, actual in Outcome.objects.values_list("pk", "actual")} == {one: True, two: False}


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, None), ("x", None), (None, None), ([1], "0"), ([[]], "0"), ([{}], "0.prediction_id"),
        ([{"survived": True}], "0.prediction_id"), ([{"reference": "a"}], "0.survived"),
        ([{"reference": " ", "survived": True}], "0.prediction_id"),
        ([{"reference": "a" * 101, "survived": True}], "0.reference"),
        ([{"reference": "a\0", "survived": True}], "0.reference"),
        ([{"reference": True, "survived": True}], "0.reference"),
        ([{"prediction_id": "x", "survived": True}], "0.prediction_id"),
        ([{"prediction_id": [], "survived": True}], "0.prediction_id"),
        ([{"prediction_id": str(UUID(int=1)), "reference": "a", "survived": True}], "0.prediction_id"),
        ([{"reference": "a", "survived": 1}], "0.survived"), ([{"reference": "a", "survived": None}], "0.survived"),
        ([{"reference": "a", "survived": True, "note": 1}], "0.note"),
    ],
)  # fmt: skip
def test_a_list_of_a_wrong_form_is_rejected_whole_with_the_field_named(
    api: APIClient, prediction_id: str, body: Any, attr: str | None
) -> None:
    good = [{"prediction_id": prediction_id, "survived": True}]

    answer = api.post(MANY, body + good if isinstance(body, list) else body, format="json")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["attr"] in (attr, "non_field_errors" if attr is None else attr)
    assert not Outcome.objects.exists()


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"", "text/csv", 400), (b"PK\x03\x04", "text/csv", 400),
        (b"x,survived\n1,1\n", "text/csv", 400),
        (b"reference\nx\n", "text/csv", 400), (b"reference,Reference,survived\nx,x,1\n", "text/csv", 400),
        (b"\x1f\x8b broken", "text/csv", 400), (b"[", "application/json", 400), (b"<x/>", "application/xml", 415),
        (b"--x--", "multipart/form-data; boundary=x", 400), (b"x" * (10 * 1024**2 + 1), "text/csv", 413),
    ],
)  # fmt: skip
def test_hostile_bodies_are_refused_in_a_sentence(
    api: APIClient, champion: ModelVersion, data: bytes, content_type: str, status: int
) -> None:
    answer = api.post(MANY, data, content_type=content_type)

    assert answer.status_code == status
    assert answer.json()["errors"][0]["detail"]


def test_a_list_that_is_too_long_is_refused_and_an_empty_one_is_not(api: APIClient, champion: ModelVersion) -> None:
    item = {"reference": "x", "survived": True}

    assert api.post(MANY, [item] * (outcomes.MAX_ITEMS + 1), format="json").status_code == 413
    assert api.post(MANY, [], format="json").json()["recorded"] == 0
    assert api.post(MANY, [item] * outcomes.MAX_ITEMS, format="json").json()["unknown"] == outcomes.MAX_ITEMS
    assert api.get(MANY).status_code == 405
