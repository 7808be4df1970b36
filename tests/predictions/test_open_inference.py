"""The Open Inference Protocol v2: Triton's own client, both kinds of tensors, and whatever else is sent."""

from typing import Any

import numpy as np
import pytest
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from core.tokens import TokenThrottle
from features.definition import FEATURES
from predictions import log, services
from predictions.models import Channel, Prediction
from predictions.open_inference.views import Infer
from tests.people import CAST, ELISABETH, OWEN
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

URL = "/v2/models/titanic/infer"
TEXTS = ("sex", "embarked", "cabin", "name", "ticket")


def _tensor(name: str, values: list[Any], datatype: str | None = None, **more: Any) -> dict[str, Any]:
    datatype = datatype or ("BYTES" if name in TEXTS else "FP64")
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values, **more}


def _fields(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [name for name in CAST[0] if any(name in person for person in people)]
    return [_tensor(name, [person.get(name) for person in people]) for name in names]


def _features(rows: list[dict[str, float | None]]) -> list[dict[str, Any]]:
    return [_tensor(name, [row[name] for row in rows], "FP32") for name in FEATURES]


def _infer(api: APIClient, **body: Any) -> Any:
    return api.post(URL, body, format="json")


def _data(response: Any, name: str) -> list[Any]:
    assert response.status_code == 200, response.content
    return next(list(output["data"]) for output in response.json()["outputs"] if output["name"] == name)


def test_fields_as_tensors_get_the_answers_of_the_other_channels(api: APIClient, champion: ModelVersion) -> None:
    expected = services.predict(services.parse_batch(CAST))

    response = _infer(api, inputs=_fields(CAST), id="42")

    assert _data(response, "probability") == [answer.probability for answer in expected]
    assert _data(response, "survived") == [answer.predicted for answer in expected]
    body = response.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("titanic", "1", "42")
    assert [output["shape"] for output in body["outputs"]] == [[4]] * 3


def test_features_as_tensors_get_the_same_answers(api: APIClient, champion: ModelVersion) -> None:
    expected = services.predict(services.parse_batch(CAST))

    response = _infer(api, inputs=_features([dict(answer.features.items()) for answer in expected]))

    assert _data(response, "probability") == [answer.probability for answer in expected]


def test_what_is_answered_is_logged_under_its_channel(api: APIClient, champion: ModelVersion) -> None:
    ids = _data(_infer(api, inputs=_fields(CAST)), "id")
    log.drain()

    rows = Prediction.objects.filter(source=Channel.V2)
    assert {str(row.pk) for row in rows} == set(ids)
    assert {row.name for row in rows} == {person.get("name") for person in CAST}


@pytest.mark.ignore_template_errors
def test_tritons_client_works_unchanged(
    live_server: LiveServer, api: APIClient, champion: ModelVersion, django_user_model: Any
) -> None:
    import tritonclient.http as triton

    token = AccessToken.objects.create(make_user("triton"))[1]
    client = triton.InferenceServerClient(live_server.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("titanic")
    assert client.is_model_ready("titanic", "1")
    metadata = client.get_model_metadata("titanic")
    row = dict(services.predict(services.parse_one(ELISABETH))[0].features.items())
    tensors = []
    for described in metadata["inputs"]:
        tensor = triton.InferInput(described["name"], [1], described["datatype"])
        tensor.set_data_from_numpy(np.array([row[described["name"]]], dtype=np.float32), binary_data=False)
        tensors.append(tensor)
    outputs = [triton.InferRequestedOutput(output["name"], binary_data=False) for output in metadata["outputs"]]

    result = client.infer("titanic", tensors, outputs=outputs, headers={"Authorization": f"Token {token}"})

    expected = services.predict(services.parse_one(ELISABETH))[0]
    assert result.as_numpy("probability").tolist() == [expected.probability]
    assert result.as_numpy("survived").tolist() == [expected.predicted]
    with pytest.raises(triton.InferenceServerException, match=r"Token|credentials"):
        client.infer("titanic", tensors)
    client.close()


def test_only_what_is_asked_for_comes_back(api: APIClient, champion: ModelVersion) -> None:
    body = _infer(api, inputs=_fields([OWEN]), outputs=[{"name": "survived"}]).json()

    assert [output["name"] for output in body["outputs"]] == ["survived"]


def test_nested_data_is_flattened(api: APIClient, champion: ModelVersion) -> None:
    inputs = [{**tensor, "shape": [2, 1], "data": [[value] for value in tensor["data"]]}
              for tensor in _fields([ELISABETH, OWEN])]  # fmt: skip

    assert len(_data(_infer(api, inputs=inputs), "probability")) == 2


def test_without_a_model_it_is_not_ready(db: None) -> None:
    client = APIClient(raise_request_exception=False)

    assert client.get("/v2/health/live").status_code == 200
    for address in ("/v2/health/ready", "/v2/models/titanic/ready", "/v2/models/titanic"):
        refused = client.get(address)
        assert refused.status_code == 503
        assert set(refused.json()) == {"error"}


@pytest.mark.parametrize(
    "address",
    ["/v2/models/other", "/v2/models/titanic/versions/9/infer", "/v2/nothing", "/v2/", "/v2/models/titanic/infer/"],
)  # fmt: skip
def test_what_is_not_there_is_said_in_the_protocols_shape(api: APIClient, champion: ModelVersion, address: str) -> None:
    refused = api.post(address, {"inputs": _fields([OWEN])}, format="json")

    assert refused.status_code == 404
    assert set(refused.json()) == {"error"}


def test_who_may_not_ask_is_told_so(champion: ModelVersion) -> None:
    refused = _infer(APIClient(), inputs=_fields([OWEN]))

    assert refused.status_code == 401
    assert set(refused.json()) == {"error"}
    assert APIClient().get("/v2/models/titanic").status_code == 200
    assert APIClient().get("/v2/models/titanic/versions/9").status_code == 404
    assert APIClient().get(URL).status_code in (401, 405)


PCLASS, SEX = _tensor("pclass", [1]), _tensor("sex", ["male"])
HOSTILE: dict[str, tuple[Any, str]] = {
    "no inputs": ({}, "inputs"),
    "empty inputs": ({"inputs": []}, "inputs"),
    "no elements": ({"inputs": [_tensor("pclass", []), _tensor("sex", [])]}, "inputs"),
    "not a list": ({"inputs": 5}, "inputs"),
    "a list": ([], "body"),
    "lengths differ": ({"inputs": [PCLASS, _tensor("sex", ["male", "male"])]}, "inputs"),
    "shape and data differ": ({"inputs": [{**PCLASS, "shape": [2]}, SEX]}, "pclass"),
    "three dimensions": ({"inputs": [{**PCLASS, "shape": [1, 1, 1]}, SEX]}, "pclass"),
    "negative shape": ({"inputs": [{**PCLASS, "shape": [-1]}, SEX]}, "pclass"),
    "huge shape": ({"inputs": [{**PCLASS, "shape": [10**30]}, SEX]}, "shape"),
    "unknown datatype": ({"inputs": [{**PCLASS, "datatype": "FP8"}, SEX]}, "pclass"),
    "text for a number": ({"inputs": [{**PCLASS, "data": ["1"]}, SEX]}, "pclass"),
    "bool for a number": ({"inputs": [{**PCLASS, "data": [True]}, SEX]}, "pclass"),
    "fraction in an integer": ({"inputs": [{**PCLASS, "datatype": "INT32", "data": [1.5]}, SEX]}, "pclass"),
    "object": ({"inputs": [{**PCLASS, "data": [{}]}, SEX]}, "pclass"),
    "doubled": ({"inputs": [PCLASS, PCLASS, SEX]}, "pclass"),
    "unknown tensor": ({"inputs": [PCLASS, SEX, _tensor("x", [1])]}, "x[0]"),
    "unknown with features": ({"inputs": [_tensor("Age", [1]), _tensor("x", [1])]}, "x[0]"),
    "out of range": ({"inputs": [_tensor("pclass", [9]), SEX]}, "pclass[0]"),
    "huge number": ({"inputs": [_tensor("pclass", [2**70]), SEX]}, "pclass[0]"),
    "second row": ({"inputs": [_tensor("pclass", [1, 9]), _tensor("sex", ["male", "male"])]}, "pclass[1]"),
    "features contradict": ({"inputs": [_tensor(n, [v]) for n, v in
        {"Pclass": 1, "Sex": 1, "Familysize": 2, "Isalone": 1}.items()]}, "Isalone[0]"),
    "unknown output": ({"inputs": [PCLASS, SEX], "outputs": [{"name": "x"}]}, "x"),
    "unknown key": ({"inputs": [PCLASS, SEX], "x": 1}, "x"),
    "id no text": ({"inputs": [PCLASS, SEX], "id": 5}, "id"),
    "deep": ({"inputs": [{**PCLASS, "data": [[[[[[[[[[1]]]]]]]]]], "shape": [1, 2]}, SEX]}, "pclass"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_wrong_is_named(case: str, api: APIClient, champion: ModelVersion) -> None:
    body, named = HOSTILE[case]

    refused = api.post(URL, body, format="json")

    assert refused.status_code == 400, refused.content
    assert set(refused.json()) == {"error"}
    assert named in refused.json()["error"]
    assert log.drain() == 0


def test_too_many_rows_and_too_large_bodies_are_refused(api: APIClient, champion: ModelVersion) -> None:
    count = services.MAX_BATCH + 1
    many = _infer(api, inputs=[_tensor("pclass", [1] * count), _tensor("sex", ["male"] * count)])
    large = api.generic("POST", URL, b"[" + b" " * 11 * 1024**2 + b"]", "application/json")
    bad = api.generic("POST", URL, b'{"inputs": [\xff]}', "application/json")
    binary = api.post(URL, {}, format="json", HTTP_INFERENCE_HEADER_CONTENT_LENGTH="5")
    octets = api.generic("POST", URL, b"x", "application/octet-stream")

    codes = [response.status_code for response in (many, large, bad, binary, octets)]
    assert codes == [413, 413, 400, 400, 400]
    assert all(set(response.json()) == {"error"} for response in (many, large, bad, binary, octets))


def test_who_asks_too_often_or_otherwise_is_told_in_the_protocols_shape(
    api: APIClient, champion: ModelVersion, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Infer, "throttle_classes", [TokenThrottle])
    settings.THROTTLE_PREDICT = "1/h"

    codes = [_infer(api, inputs=_fields([OWEN])) for _ in range(2)]
    otherwise = api.put(URL, {}, format="json")

    assert [response.status_code for response in codes] == [200, 429]
    assert 0 < int(codes[1]["Retry-After"]) <= 3600
    assert otherwise.status_code == 405
    assert all(set(response.json()) == {"error"} for response in (codes[1], otherwise))
