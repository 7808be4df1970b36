"""What the log keeps of the caller: their own id, the id of the request, and whether anybody had signed in."""

import json
from typing import Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from rest_framework.test import APIClient

from predictions import log, scoring, services
from predictions.models import Prediction, ScoringJob
from tests.people import ELISABETH, OWEN, table
from tests.users import make_user
from training.models import ModelVersion

URL, HISTORY = "/api/v1/predictions/", "/predictions/"
GUID = "0123456789abcdef0123456789abcdef"
#: References that are refused, as JSON writes them.
HOSTILE = (f'"{"x" * 101}"', '"a\\u0000b"', '"\\u001b[2J"', "9e99", "true", '["a"]', "[]", "{}")


def _send(api: APIClient, text: str, **headers: str) -> Any:
    return api.generic("POST", URL, text, "application/json", headers=headers)


def _shown(client: Client, **query: str) -> list[UUID]:
    return [row.pk for row in client.get(HISTORY, query).context["page"].rows]


def test_a_reference_is_answered_logged_found_and_shown(api: APIClient, client: Client, champion: ModelVersion) -> None:
    reference = 'order "17" <b>é😀\n' + "x" * 80

    answer = api.post(URL, {**OWEN, "reference": f" {reference} "}, format="json").json()
    batch = api.post(f"{URL}batch/", {"instances": [OWEN, {**OWEN, "reference": "other"}]}, format="json").json()
    waiting = api.get(f"{URL}{answer['id']}/").json()
    log.drain()

    assert answer["reference"] == waiting["reference"] == reference
    assert [each["reference"] for each in batch["predictions"]] == [None, "other"]
    (found,) = api.get(URL, {"reference": reference}).json()["results"]
    assert (found["id"], found["reference"]) == (answer["id"], reference)
    assert _shown(client, reference=f" {reference}") == [UUID(answer["id"])]
    assert _shown(client, reference="order") == []
    page = client.get(f"{HISTORY}{answer['id']}/").text
    assert "order &quot;17&quot; &lt;b&gt;é😀" in page
    assert "order &quot;17&quot; &lt;b&gt;é😀" in client.get(HISTORY).text


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_reference_is_refused_by_name(value: str, api: APIClient, champion: ModelVersion) -> None:
    row = json.dumps(OWEN)
    bad = f'{row[:-1]}, "reference": {value}}}'

    one = _send(api, bad)
    many = api.generic("POST", f"{URL}batch/", f'{{"instances": [{row}, {bad}]}}', "application/json")

    assert (one.status_code, one.json()["errors"][0]["attr"]) == (400, "reference")
    assert (many.status_code, many.json()["errors"][0]["attr"]) == (400, "instances.1.reference")
    # Text that is no Unicode ends the reading of the body, whatever field it is in.
    assert _send(api, f'{row[:-1]}, "reference": "\\ud800"}}').status_code == 400
    assert log.backlog() == 0


@pytest.mark.parametrize("value", ["null", '""', '" "'])
def test_a_blank_reference_is_none(value: str, api: APIClient, champion: ModelVersion) -> None:
    answer = _send(api, f'{json.dumps(OWEN)[:-1]}, "reference": {value}}}')

    assert (answer.status_code, answer.json()["reference"]) == (201, None)


def test_a_reference_is_no_field_of_the_form_nor_a_tensor(
    api: APIClient, client: Client, champion: ModelVersion
) -> None:
    tensor = {"name": "reference", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    fields = {"Pclass": 3, "Sex": 0}
    inputs = [{"name": name, "shape": [1], "datatype": "INT64", "data": [value]} for name, value in fields.items()]

    refused = api.post("/v2/models/titanic/infer", {"inputs": [*inputs, tensor]}, format="json")
    client.post("/predict", {"pclass": "3", "sex": "male", "reference": "x"})
    log.drain()

    assert (refused.status_code, "reference" in refused.json()["error"]) == (400, True)
    assert Prediction.objects.get().reference is None


def test_another_reference_under_a_known_key_is_a_conflict(api: APIClient, champion: ModelVersion) -> None:
    answers = [
        api.post(URL, {**OWEN, **more}, format="json", headers={"Idempotency-Key": "a"})
        for more in ({"reference": "x"}, {"reference": "x"}, {"reference": "y"}, {})
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 409, 409]
    assert answers[0].content == answers[1].content
    assert answers[1].json()["reference"] == "x"


@pytest.mark.parametrize("value", ["x" * 101, "a\0b", "", " ", "\x1b"])
def test_a_reference_that_cannot_be_one_is_no_filter(value: str, api: APIClient, client: Client) -> None:
    assert api.get(URL, {"reference": value}).json()["errors"][0]["attr"] == "reference"
    assert client.get(HISTORY, {"reference": value}).status_code == 200


@pytest.mark.usefixtures("login_required")
def test_who_has_not_signed_in_is_marked(api: APIClient, champion: ModelVersion, settings: Any) -> None:
    settings.API_ALLOW_ANONYMOUS = True
    signed_in, nobody = Client(), Client()
    signed_in.force_login(make_user("analyst", "analyst"))
    body = {"inputs": [{"name": "Pclass", "shape": [1], "datatype": "INT64", "data": [3]},
                       {"name": "Sex", "shape": [1], "datatype": "INT64", "data": [0]}]}  # fmt: skip

    for client in (nobody, signed_in):
        assert client.post("/predict", {"pclass": "3", "sex": "male"}).status_code == 200
    for caller in (APIClient(), api):
        caller.post(URL, OWEN, format="json")
        caller.post(URL, OWEN, format="json", headers={"Idempotency-Key": "a"})
        caller.post(f"{URL}batch/", {"instances": [OWEN]}, format="json")
        caller.post("/v2/models/titanic/infer", body, format="json")
    log.drain()

    logged = Prediction.objects.values_list("source", "anonymous")
    assert sorted(logged) == sorted(
        (source, anonymous) for source in ("form", "api", "api", "batch", "v2") for anonymous in (False, True)
    )
    assert len(_shown(signed_in, anonymous="1")) == len(_shown(signed_in, anonymous="0")) == 5
    for text, is_anonymous in (("true", True), ("0", False)):
        results = api.get(URL, {"anonymous": text}).json()["results"]
        assert [row["anonymous"] for row in results] == [is_anonymous] * 5
    assert api.get(URL, {"anonymous": "perhaps"}).json()["errors"][0]["attr"] == "anonymous"
    row = Prediction.objects.filter(anonymous=True).latest("id")
    assert "· anonymous" in " ".join(signed_in.get(row.get_absolute_url()).text.split())


def test_where_nobody_signs_in_nobody_is_marked(client: Client, champion: ModelVersion) -> None:
    Client().post("/predict", {"pclass": "3", "sex": "male"})
    log.drain()

    assert not Prediction.objects.get().anonymous


@pytest.mark.usefixtures("login_required")
def test_a_session_that_cannot_be_looked_up_is_nobody_s(
    client: Client, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(make_user("analyst", "analyst"))

    def away(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr("django.contrib.sessions.backends.base.SessionBase.get", away)
    answer = client.post("/predict", {"pclass": "3", "sex": "male"})
    monkeypatch.undo()
    log.drain()

    assert answer.status_code == 200
    assert Prediction.objects.get().anonymous


def test_the_request_s_id_is_kept(api: APIClient, client: Client, champion: ModelVersion) -> None:
    answer = _send(api, json.dumps(OWEN), **{"X-Request-ID": GUID.upper()})
    pk = answer.json()["id"]

    waiting = api.get(f"{URL}{pk}/").json()
    log.drain()

    assert waiting["request_id"] == api.get(f"{URL}{pk}/").json()["request_id"] == GUID
    assert GUID in client.get(f"{HISTORY}{pk}/").text


def test_a_scored_file_has_that_of_the_request_that_sent_it(client: Client, champion: ModelVersion) -> None:
    upload = SimpleUploadedFile("people.csv", table(OWEN, ELISABETH).encode())
    client.post("/scoring/start/", {"file": upload}, headers={"X-Request-ID": GUID})

    job = ScoringJob.objects.get()
    scoring.score(job)

    rows = Prediction.objects.filter(scoring_job_id=job.pk)
    assert list(rows.values_list("request_id", "anonymous", "reference")) == [(UUID(GUID), False, None)] * 2


def test_without_a_request_there_is_none(champion: ModelVersion) -> None:
    (answer,) = services.predict(services.parse_one(OWEN))
    log.drain()

    row = Prediction.objects.get(pk=answer.id)
    assert (row.request_id, row.anonymous) == (None, False)
