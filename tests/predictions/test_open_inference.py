"""The Open Inference Protocol v2: Triton's own client, both kinds of tensors, and whatever else is sent."""

import json
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
def test_tritons_client_works_unchanged(live_server: LiveServer, champion: ModelVersion) -> None:
    import tritonclient.http as triton

    token = AccessToken.objects.create(make_user("triton"))[1]
    client = triton.InferenceServerClient(live_server.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("titanic")
    assert client.is_model_ready("titanic", "1")
    metadata = client.get_model_metadata("titanic")
    row = dict(services.predict(services.parse_one(ELISABETH))[0].features.items())
    expected = services.predict(services.parse_one(ELISABETH))[0]
    headers = {"Authorization": f"Bearer {token}"}
    for is_binary, packed in ((True, None), (True, "gzip"), (False, None), (False, "deflate")):
        tensors = []
        for described in metadata["inputs"]:
            tensor = triton.InferInput(described["name"], [1], described["datatype"])
            values = np.array([row[described["name"]]], dtype=np.float32)
            tensor.set_data_from_numpy(values, binary_data=is_binary)
            tensors.append(tensor)
        names = [output["name"] for output in metadata["outputs"]]
        outputs = [triton.InferRequestedOutput(name, binary_data=is_binary) for name in names]
        # Of no outputs it wants all, as bytes.
        for wanted in (outputs, None):
            answer = client.infer(
                "titanic", tensors, outputs=wanted, headers={**headers}, request_id="7",
                request_compression_algorithm=packed, response_compression_algorithm=packed,
            )  # fmt: skip
            assert answer.as_numpy("probability").tolist() == [expected.probability]
            assert answer.as_numpy("survived").tolist() == [expected.predicted]
            assert len(answer.as_numpy("id")) == 1
            assert answer.get_response()["id"] == "7"
    assert [tensor["name"] for tensor in client.get_model_config("titanic")["input"]] == list(FEATURES)
    with pytest.raises(triton.InferenceServerException, match=r"Token|credentials"):
        client.infer("titanic", tensors)
    client.close()


@pytest.mark.ignore_template_errors
def test_tritons_client_sends_texts_and_unknowns_as_bytes(
    live_server: LiveServer, api: APIClient, champion: ModelVersion
) -> None:
    import tritonclient.http as triton

    expected = services.predict(services.parse_batch(CAST))
    client = triton.InferenceServerClient(live_server.url.removeprefix("http://"))
    token = vars(api)["_credentials"]["HTTP_AUTHORIZATION"]
    tensors = []
    for name in CAST[0]:
        values = [person.get(name) for person in CAST]
        array = (
            np.array([(value or "").encode() for value in values], dtype=object)
            if name in TEXTS
            else np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        )
        tensor = triton.InferInput(name, [len(values)], "BYTES" if name in TEXTS else "FP64")
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)

    result = client.infer("titanic", tensors, headers={"Authorization": token})

    assert result.as_numpy("probability").tolist() == [answer.probability for answer in expected]
    client.close()


def test_the_body_of_kserves_client_is_answered(api: APIClient, champion: ModelVersion) -> None:
    """As `InferRequest.to_rest` of kserve 0.21 writes it; its package cannot be installed beside psutil 6."""
    inputs = [{**tensor, "parameters": None} for tensor in _fields(CAST)]
    expected = [answer.probability for answer in services.predict(services.parse_batch(CAST))]
    body = {"id": "4f0c", "model_name": "titanic", "inputs": inputs, "parameters": None, "outputs": None}

    plain = api.post(URL, body, format="json")
    requested = api.post(URL, {**body, "outputs": [{"name": "probability", "parameters": {"binary_data": False}}]},
                         format="json")  # fmt: skip

    assert plain.json()["id"] == "4f0c"
    assert _data(plain, "probability") == _data(requested, "probability") == expected


def test_nan_is_unknown(api: APIClient, champion: ModelVersion) -> None:
    person = {**ELISABETH, "age": None}
    expected = services.predict(services.parse_one(person))[0].probability
    inputs = [*_fields([{**person, "age": 1}])]
    next(tensor for tensor in inputs if tensor["name"] == "age")["data"] = [float("nan")]

    response = api.generic("POST", URL, json.dumps({"inputs": inputs}), "application/json")

    assert _data(response, "probability") == [expected]


@pytest.mark.parametrize("is_nested", [True, False])
def test_a_matrix_of_all_features_is_answered(is_nested: bool, api: APIClient, champion: ModelVersion) -> None:
    expected = services.predict(services.parse_batch(CAST))
    matrix = [[float("nan") if value is None else value for value in dict(answer.features.items()).values()]
              for answer in expected]  # fmt: skip
    data = matrix if is_nested else [value for row in matrix for value in row]
    tensor = {"name": "input-0", "shape": [len(CAST), len(FEATURES)], "datatype": "FP32", "data": data}

    response = api.generic("POST", URL, json.dumps({"inputs": [tensor]}), "application/json")

    assert _data(response, "probability") == [answer.probability for answer in expected]


def _binary(body: dict[str, Any], content: bytes, *, length: str | None = None) -> tuple[bytes, dict[str, str]]:
    header = json.dumps(body).encode()
    return header + content, {"Inference-Header-Content-Length": length or str(len(header))}


def test_hostile_bytes_are_refused(api: APIClient, champion: ModelVersion) -> None:
    def tensor(name: str, datatype: str, size: object) -> dict[str, Any]:
        return {"name": name, "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": size}}

    one, male = (1).to_bytes(8, "little"), b"\x04\x00\x00\x00male"
    inputs = [tensor("pclass", "INT64", 8), tensor("sex", "BYTES", 8)]
    cases: list[tuple[dict[str, Any], bytes, str | None]] = [
        ({"inputs": inputs}, one, None),
        ({"inputs": inputs}, one + male + b"x", None),
        ({"inputs": inputs}, one + b"\xff\xff\xff\xffmale", None),
        ({"inputs": inputs}, one + b"\x04\x00\x00\x00\xff\xfe\xfd\xfc", None),
        ({"inputs": [tensor("pclass", "INT64", 7), inputs[1]]}, one[:7] + male, None),
        ({"inputs": [tensor("pclass", "FP8", 8), inputs[1]]}, one + male, None),
        ({"inputs": [tensor("pclass", "INT64", 10**30), inputs[1]]}, one + male, None),
        ({"inputs": [tensor("pclass", "INT64", "8"), inputs[1]]}, one + male, None),
        ({"inputs": [tensor("pclass", "INT64", True), inputs[1]]}, one + male, None),
        *(({"inputs": inputs}, one + male, length) for length in ("-1", "9" * 40, "1e3", "99999", "²", " ", "0")),
    ]
    for body, content, length in cases:
        raw, headers = _binary(body, content, length=length)
        refused = api.generic("POST", URL, raw, "application/octet-stream", headers=headers)
        assert (refused.status_code, set(refused.json())) == (400, {"error"}), (body, length)
    raw, headers = _binary({"inputs": inputs}, one + male)
    assert len(_data(api.generic("POST", URL, raw, "application/octet-stream", headers=headers), "id")) == 1
    many = _binary({"inputs": [tensor("pclass", "UINT8", 9 * 10**6)]}, b"\x01" * 9 * 10**6)
    assert api.generic("POST", URL, many[0], "application/octet-stream", headers=many[1]).status_code == 400
    assert log.drain() == 1


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
    "no data": ({"inputs": [{"name": "pclass", "shape": [1], "datatype": "INT64"}, SEX]}, "pclass"),
    "shared memory": ({"inputs": [{"name": "pclass", "shape": [1], "datatype": "INT64",
        "parameters": {"shared_memory_region": "x"}}, SEX]}, "pclass"),
    "bytes that are not there": ({"inputs": [{**PCLASS, "parameters": {"binary_data_size": 8}}, SEX]}, "pclass"),
    "no size of bytes": ({"inputs": [{**PCLASS, "parameters": {"binary_data_size": -1}}, SEX]}, "pclass"),
    "parameters no object": ({"inputs": [{**PCLASS, "parameters": 5}, SEX]}, "parameters"),
    "a matrix of another width": ({"inputs": [{"name": "x", "shape": [1, 10], "datatype": "FP32",
        "data": [0] * 10}]}, "[n, 11]"),
    "a matrix cut off": ({"inputs": [{"name": "x", "shape": [2, 11], "datatype": "FP32", "data": [0] * 21}]}, "x"),
    "a matrix of text": ({"inputs": [{"name": "x", "shape": [1, 11], "datatype": "BYTES", "data": ["x"] * 11}]},
        "Pclass[0]"),
    "infinity": ({"inputs": [PCLASS, SEX, {"name": "age", "shape": [1], "datatype": "FP64", "data": [float("inf")]}]},
        "inputs.2.data.0"),
    "id no text": ({"inputs": [PCLASS, SEX], "id": 5}, "id"),
    "deep": ({"inputs": [{**PCLASS, "data": [[[[[[[[[[1]]]]]]]]]], "shape": [1, 2]}, SEX]}, "pclass"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_wrong_is_named(case: str, api: APIClient, champion: ModelVersion) -> None:
    body, named = HOSTILE[case]

    # Python's own JSON, as clients write it, has infinity.
    refused = api.generic("POST", URL, json.dumps(body), "application/json")

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
