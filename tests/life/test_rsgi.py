"""The web server's door: clients that are slow, gone, or too much, and its end."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from django.db import OperationalError, connection
from django.urls import resolve
from rest_framework.test import APIClient

from ingestion.models import Dataset
from predictions import explanation, log
from predictions.models import Prediction, ScoringJob
from tests.people import CAST
from tests.services import log_away
from tests.web import Web, answer, environment, serving
from titanic_site.lib import redis
from titanic_site.lib.errors import TooLong, as_refusal
from titanic_site.models import AccessToken
from training.models import ModelVersion

pytestmark = pytest.mark.django_db(transaction=True)

PERSON = json.dumps(CAST[0]).encode()
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\npclass,sex\r\n1,male'
#: Longer than what is read before the work begins.
LARGE = 50_000_000


@pytest.fixture
def web(champion: ModelVersion, django_user_model: Any, tmp_path: Path) -> Iterator[Web]:
    token = AccessToken.objects.create(django_user_model.objects.get(username="admin"))[1]
    with serving(token, log=tmp_path / "web.log") as running:
        yield running


def test_who_is_slow_is_told_so_and_nobody_waits_for_them(web: Web) -> None:
    silent = [web.begin("/api/v1/predictions/", size=500, body=b"{") for _ in range(30)]
    trickling = [web.begin("/api/v1/predictions/", size=500, body=b"{") for _ in range(30)]
    large = [web.begin("/api/v1/predictions/batch/", size=2_000_000, body=b"{") for _ in range(10)]
    chunked = [web.begin("/api/v1/predictions/", body=b"1\r\n{\r\n") for _ in range(10)]
    uploads = [web.begin("/api/v1/scoring-jobs/", size=LARGE, body=PART, **MULTIPART) for _ in range(10)]
    drops = Thread(target=_trickle, args=(trickling + uploads,))
    drops.start()

    with web.client() as client:
        statuses = [client.post("/api/v1/predictions/", json=CAST[0]).status_code for _ in range(20)]
        told = [answer(talk) for talk in (*silent, *trickling, *large, *chunked, *uploads)]

    drops.join()
    assert statuses == [201] * 20
    assert {status for status, _body in told} == {408}
    assert all(json.loads(body)["errors"][0]["code"] == "incomplete_body" for _status, body in told)
    assert not ScoringJob.objects.exists()
    assert "Traceback" not in web.log.read_text()


def test_who_goes_in_the_middle_leaves_nothing(web: Web) -> None:
    before = Dataset.objects.count()
    for _ in range(5):
        web.begin("/api/v1/predictions/", size=500, body=PERSON).close()
        web.begin("/api/v1/predictions/", body=b"1\r\n{\r\n").close()
        web.begin("/api/v1/scoring-jobs/", size=LARGE, body=PART, **MULTIPART).close()
        web.begin("/api/v1/datasets/", size=LARGE, body=PART, **MULTIPART).close()
        # As much as is read at a time, and a form that could pass for whole.
        web.begin("/api/v1/datasets/", size=LARGE, body=PART + b" " * (2**18 - len(PART)), **MULTIPART).close()
        web.begin("/api/v1/scoring-jobs/", body=f"{len(PART):x}\r\n".encode() + PART + b"\r\n", **MULTIPART).close()

    with web.client() as client:
        assert client.post("/api/v1/predictions/", json=CAST[0]).status_code == 201
    time.sleep(1)
    assert log.drain() == 1
    assert not ScoringJob.objects.exists()
    assert Dataset.objects.count() == before
    assert "Traceback" not in web.log.read_text()


def test_a_file_beyond_the_limit_is_refused_before_it_comes(web: Web) -> None:
    status, body = answer(web.begin("/api/v1/scoring-jobs/", size=10**12, body=PART, **MULTIPART))

    assert status == 413
    assert json.loads(body)["errors"][0]["detail"].startswith("The file is larger than")


@pytest.mark.parametrize("path", ["/predict", "/accounts/login/", "/nowhere/", "/api/v1/predictions/"])
def test_an_address_that_takes_no_file_reads_none(path: str, web: Web) -> None:
    # With a cookie Django looks for its like in the form, however long that is.
    talk = web.begin(path, size=200 * 1024**2, body=PART, Cookie=f"csrftoken={'a' * 32}", **MULTIPART)

    status, body = answer(talk)

    assert (status, json.loads(body)["errors"][0]["code"]) == (413, "too_large")


@pytest.mark.parametrize("is_begun", [True, False])
def test_an_upload_waits_for_its_thread_and_not_without_end(is_begun: bool) -> None:
    code = f"""
import asyncio, time
from threading import Event
from titanic_site import rsgi
from titanic_site.lib.errors import TooLong
rsgi.DEADLINE = 0.3
free = Event()
if {is_begun}:
    free.set()
for _ in range(rsgi._large._max_workers):
    rsgi._large.submit(free.wait)
def work_off(environ, tell, is_over):
    time.sleep(0.8)
    tell(((201, []), b"", None))
rsgi._work_off = work_off
class Protocol:
    def response_bytes(self, status, headers, content):
        print(status)
try:
    asyncio.run(rsgi._answer(Protocol(), {{}}, pool=rsgi._large, is_arriving=True))
except TooLong as refusal:
    print(int(refusal.status))
free.set()
"""
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ("201" if is_begun else "503")


def test_who_must_wait_for_others_uploads_is_not_taken_for_slow(web: Web) -> None:
    table = b"pclass,sex\r\n" + b"1,female\r\n" * 1_200_000
    # All that read uploads, in each process, are kept waiting until they are told that they are slow.
    begun = PART + b" " * 200_000
    slow = [web.begin("/api/v1/scoring-jobs/", size=LARGE, body=begun, **MULTIPART) for _ in range(100)]

    with web.client() as client:
        client.timeout = 90
        accepted = client.post("/api/v1/scoring-jobs/", files={"file": ("a.csv", table)})

    assert accepted.status_code == 202, accepted.text
    assert {answer(talk)[0] for talk in slow} == {408}


def test_a_key_that_cannot_be_read_is_refused_not_passed_over(web: Web) -> None:
    with web.client() as client:
        refused = client.post("/api/v1/predictions/", json=CAST[0], headers={"Idempotency-Key": "ключ".encode()})
        passed = client.get("/healthz", headers={"User-Agent": "Müller".encode()})

    assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, "Idempotency-Key")
    assert passed.status_code == 200


def test_a_body_in_chunks_is_a_body(web: Web) -> None:
    def pieces() -> Iterator[bytes]:
        yield PERSON[:9]
        yield PERSON[9:]

    with web.client() as client:
        found = client.post("/api/v1/predictions/", content=pieces(), headers={"Content-Type": "application/json"})
        assert found.status_code == 201, found.text
        assert found.json()["probability"] == client.post("/api/v1/predictions/", json=CAST[0]).json()["probability"]


@pytest.mark.parametrize("headers", [{}, {"size": 5, "Transfer-Encoding": "chunked"}], ids=["chunked", "and of a size"])
def test_chunks_without_end_are_refused(web: Web, headers: dict[str, Any]) -> None:
    talk = web.begin("/api/v1/predictions/", **headers)
    for _ in range(11):
        talk.sendall(b"100000\r\n" + b" " * 1024**2 + b"\r\n")

    status, body = answer(talk)

    assert status == 413
    assert json.loads(body)["errors"] == [
        {"code": "too_large", "detail": "The body is larger than 10 MB.", "attr": None}
    ]


def test_an_upload_longer_than_memory_arrives_whole_and_comes_back(web: Web) -> None:
    table = b"pclass,sex\r\n" + b"1,female\r\n" * 1_200_000

    with web.client() as client:
        job = client.post("/api/v1/scoring-jobs/", files={"file": ("a.csv", table)}).json()
        with ScoringJob.objects.get(pk=job["id"]).upload.open() as kept:
            assert kept.read() == table
        script = client.get("/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")
        assert len(script.content) == int(script.headers["Content-Length"]) > 1024**2


def test_headers_and_addresses_arrive_as_they_were_sent(web: Web) -> None:
    ours, theirs = "0" * 32, "1" * 32
    with web.client() as client:
        assert client.get("/healthz", headers={"X-Request-ID": ours}).headers["X-Request-ID"] == ours
        # With an underscore it would have passed for the other.
        assert client.get("/healthz", headers={"X_Request_ID": theirs}).headers["X-Request-ID"] != theirs
        for address in ("/é/", "/%ff/", "/%00/", "/a%2Fb/", "/%F0%9F%9A%A2/?q=%ff"):
            assert client.get(address).status_code == 404, address
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as talk:
        talk.sendall("GET /?q=🚢é HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert answer(talk)[0] == 200


def test_what_was_begun_is_finished_when_the_server_is_told_to_stop(web: Web) -> None:
    begun = [web.begin("/api/v1/predictions/", size=len(PERSON), body=PERSON[:-1]) for _ in range(8)]
    time.sleep(0.5)

    web.terminate()
    time.sleep(0.5)
    for talk in begun:
        talk.sendall(PERSON[-1:])
    told = [answer(talk) for talk in begun]
    web.process.wait(30)

    assert [status for status, _body in told] == [201] * 8
    log.drain()
    assert {str(pk) for pk in Prediction.objects.values_list("pk", flat=True)} == {
        json.loads(body)["id"] for _status, body in told
    }


def test_those_who_ask_at_the_same_time_each_get_their_own_answer(web: Web, api: APIClient) -> None:
    alone = [api.post("/api/v1/predictions/", person, format="json").json() for person in CAST]
    log.drain()

    def ask(number: int) -> list[Any]:
        with web.client() as client:
            return [client.post("/api/v1/predictions/", json=CAST[(number + turn) % len(CAST)]) for turn in range(20)]

    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(ask, range(16)))

    ids = set()
    for number, responses in enumerate(found):
        for turn, response in enumerate(responses):
            expected = alone[(number + turn) % len(CAST)]
            assert response.status_code == 201, response.text
            assert int(response.headers["Content-Length"]) == len(response.content)
            assert response.json()["features"] == expected["features"]
            assert response.json()["probability"] == expected["probability"]
            ids.add(response.json()["id"])
    assert len(ids) == log.backlog() == 320
    # In fewer entries: some of them together.
    assert redis.client().xlen(log.STREAM) < 320
    assert log.drain() == 320


def test_explanations_keep_nobody_waiting(web: Web) -> None:
    with web.client() as client, ThreadPoolExecutor(150) as threads:
        ids = [client.post("/api/v1/predictions/", json=CAST[0]).json()["id"] for _ in range(150)]
        why = [threads.submit(httpx.get, f"{client.base_url}/api/v1/predictions/{id_}/explanation/",
                              headers=client.headers, timeout=60) for id_ in ids]  # fmt: skip
        wait(why, return_when=FIRST_COMPLETED)
        # Each by a connection of its own: both processes are asked.
        statuses = {httpx.post(f"{client.base_url}/api/v1/predictions/", json=CAST[0], headers=client.headers,
                               timeout=60).status_code for _ in range(10)}  # fmt: skip
        still_waiting = sum(not each.done() for each in why)

    assert statuses == {201}
    # In the same queue nearly all of these would have come first.
    assert still_waiting > 30
    assert {each.result().status_code for each in why} == {200}


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    code = """
import io
from titanic_site import rsgi
told = []
rsgi._work_off({"wsgi.input": io.BytesIO()}, told.append, lambda: True)
print(told)
"""
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]", found.stdout + found.stderr


def test_what_cannot_be_logged_is_refused_at_each_door_in_its_own_shape(web: Web) -> None:
    tensors = [{"name": name, "shape": [1], "datatype": kind, "data": [CAST[0][name]]}
               for name, kind in (("pclass", "INT32"), ("sex", "BYTES"))]  # fmt: skip
    with web.client() as client:
        with log_away():
            refused = client.post("/api/v1/predictions/", json=CAST[0])
            protocol = client.post("/v2/models/titanic/infer", json={"inputs": tensors})
        answered = client.post("/api/v1/predictions/", json=CAST[0])

    assert (refused.status_code, protocol.status_code, answered.status_code) == (503, 503, 201)
    assert refused.headers["Retry-After"] == protocol.headers["Retry-After"] == "5"
    assert refused.json()["errors"][0]["code"] == "unavailable"
    assert "cannot be recorded" in protocol.json()["error"]
    assert log.drain() == 1


def test_a_query_without_end_is_refused_with_a_reason() -> None:
    with pytest.raises(OperationalError) as caught, connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '50ms'; SELECT pg_sleep(5)")

    refusal = as_refusal(caught.value)

    with connection.cursor() as cursor:
        cursor.execute("RESET statement_timeout")
    assert isinstance(refusal, TooLong)
    assert refusal.status == 503


def test_addresses_that_explain_are_known_to_the_server() -> None:
    number = "01a19467-e800-7000-8000-000500000002"
    explaining = [f"/predictions/{number}/why/", f"/api/v1/predictions/{number}/explanation/"]

    views: list[Any] = [resolve(path).func for path in explaining]
    assert [getattr(view, "cls", view).__name__ for view in views] == ["why", "PredictionExplanation"]
    assert all(path.endswith(explanation.ADDRESSES) for path in explaining)


def test_every_query_of_the_web_has_an_end(champion: ModelVersion) -> None:
    code = """
import titanic_site.rsgi
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(*cursor.fetchone())
"""
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "50s"


def test_what_was_sent_is_let_go_with_the_answer() -> None:
    code = """
import gc, io
from titanic_site import rsgi
from django.core.handlers.wsgi import WSGIRequest
gc.disable()
statuses = set()
for path in ("/api/v1/nothing/", "/v2/nothing", "/api/v1/predictions/", "/api/v1/predictions/batch/"):
    for _ in range(20):
        body = io.BytesIO(b"{}")
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "SERVER_NAME": "localhost", "SERVER_PORT": "80",
                   "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "wsgi.input": body, "CONTENT_LENGTH": "2",
                   "CONTENT_TYPE": "application/json", "HTTP_HOST": "localhost"}
        rsgi._work_off(environ, lambda response: statuses.add(response[0][0]), lambda: False)
        assert body.closed
del environ, body
print(statuses == {401, 404}, sum(type(one) is WSGIRequest for one in gc.get_objects()))
"""
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "True 0", found.stdout + found.stderr


def _trickle(talks: list[Any]) -> None:
    for _ in range(40):
        time.sleep(0.5)
        for talk in talks:
            try:
                talk.sendall(b" ")
            except OSError:
                return
