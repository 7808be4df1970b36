"""The web server: clients that go in the middle, headers as they were sent, and its end."""

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import pytest
from django.templatetags.static import static
from rest_framework.test import APIClient

from ingestion.models import Dataset
from predictions import log
from predictions.models import Prediction, ScoringJob
from tests.people import CAST
from tests.web import Web, answer, environment, serving
from titanic_site.models import AccessToken
from training.models import ModelVersion

pytestmark = pytest.mark.django_db(transaction=True)

PERSON = json.dumps(CAST[0]).encode()
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\npclass,sex\r\n1,male'


@pytest.fixture
def web(champion: ModelVersion, django_user_model: Any, tmp_path: Path) -> Iterator[Web]:
    token = AccessToken.objects.create(django_user_model.objects.get(username="admin"))[1]
    with serving(token, log=tmp_path / "web.log") as running:
        yield running


def test_a_client_that_goes_in_the_middle_of_its_body_leaves_nothing(web: Web) -> None:
    before = Dataset.objects.count()
    for _ in range(5):
        web.begin("/api/v1/predictions/", size=500, body=PERSON).close()
        web.begin("/api/v1/scoring-jobs/", size=50_000_000, body=PART, **MULTIPART).close()
        # As much as is read at a time.
        web.begin("/api/v1/datasets/", size=50_000_000, body=PART + b" " * (2**18 - len(PART)), **MULTIPART).close()

    with web.client() as client:
        assert client.post("/api/v1/predictions/", json=CAST[0]).status_code == 201
    assert log.drain() == 1
    assert not ScoringJob.objects.exists()
    assert Dataset.objects.count() == before
    assert "Traceback" not in web.log.read_text()


def test_an_upload_longer_than_memory_arrives_whole_and_comes_back(web: Web) -> None:
    table = b"pclass,sex\r\n" + b"1,female\r\n" * 1_200_000

    with web.client() as client:
        job = client.post("/api/v1/scoring-jobs/", files={"file": ("a.csv", table)}).json()
        script = client.get(
            static("drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"),
            headers={"Accept-Encoding": "identity"},
        )

    with ScoringJob.objects.get(pk=job["id"]).upload.open() as kept:
        assert kept.read() == table
    assert len(script.content) == int(script.headers["Content-Length"]) > 1024**2


def test_headers_and_addresses_arrive_as_they_were_sent(web: Web) -> None:
    ours = "0" * 32
    with web.client() as client:
        refused = client.post("/api/v1/predictions/", json=CAST[0], headers={"Idempotency-Key": "ключ".encode()})
        assert (refused.status_code, refused.json()["errors"][0]["attr"]) == (400, "Idempotency-Key")
        assert client.get("/healthz", headers={"User-Agent": "Müller".encode()}).status_code == 200
        assert client.get("/healthz", headers={"X-Request-ID": ours}).headers["X-Request-ID"] == ours
        for address in ("/é/", "/%ff/", "/%00/", "/a%2Fb/", "/%F0%9F%9A%A2/?q=%ff"):
            assert client.get(address).status_code == 404, address
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as talk:
        talk.sendall("GET /?q=🚢é HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert answer(talk)[0] == 200


def test_what_was_begun_is_finished_when_the_server_is_told_to_stop(web: Web) -> None:
    begun = [web.begin("/api/v1/predictions/", size=len(PERSON), body=PERSON[:-1]) for _ in range(4)]
    time.sleep(0.5)

    web.terminate()
    time.sleep(0.5)
    for talk in begun:
        talk.sendall(PERSON[-1:])
    told = [answer(talk) for talk in begun]
    web.process.wait(30)

    assert [status for status, _body in told] == [201] * 4
    log.drain()
    assert {str(pk) for pk in Prediction.objects.values_list("pk", flat=True)} == {
        json.loads(body)["id"] for _status, body in told
    }


def test_clients_that_ask_at_the_same_time_each_get_their_own_answer(web: Web, api: APIClient) -> None:
    alone = [api.post("/api/v1/predictions/", person, format="json").json() for person in CAST]
    log.drain()

    def ask(number: int) -> list[Any]:
        with web.client() as client:
            return [client.post("/api/v1/predictions/", json=CAST[(number + turn) % len(CAST)]) for turn in range(20)]

    with ThreadPoolExecutor(16) as threads:
        asked = list(threads.map(ask, range(16)))

    ids = set()
    for number, responses in enumerate(asked):
        for turn, response in enumerate(responses):
            expected = alone[(number + turn) % len(CAST)]
            assert response.status_code == 201, response.text
            assert response.json()["features"] == expected["features"]
            assert response.json()["probability"] == expected["probability"]
            ids.add(response.json()["id"])
    assert len(ids) == log.backlog() == 320
    assert log.drain() == 320


def test_every_query_of_the_web_has_an_end(champion: ModelVersion) -> None:
    code = """
import titanic_site.wsgi
from core import postgres_waits
from core.errors import to_api_error
from django.db import OperationalError, connection
postgres_waits.SILENCE_SECONDS = postgres_waits.STATEMENT_SECONDS = 0.2
try:
    connection.cursor().execute("SELECT pg_sleep(60)")
except OperationalError as error:
    print(to_api_error(error).code)
connection.cursor().execute("SELECT 1")
"""
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "too_long"


def test_the_web_sends_no_option_that_pgbouncer_refuses(champion: ModelVersion) -> None:
    code = """
import os
import titanic_site.wsgi
from django.db import connection
connection.ensure_connection()
print(os.environ.get("PGOPTIONS"), connection.connection.get_dsn_parameters().get("options") or None)
"""
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["None", "None"]


@pytest.mark.long
def test_twelve_who_guess_passwords_leave_predictions_their_time(web: Web) -> None:
    is_over, statuses = Event(), Counter[int]()

    def guess(number: int) -> None:
        with web.client() as client:
            form = {"username": "admin", "csrfmiddlewaretoken": client.get("/accounts/login/").cookies["csrftoken"]}
            while not is_over.is_set():
                answer = client.post("/accounts/login/", data={**form, "password": f"guess {number}"})
                statuses[answer.status_code] += 1

    with ThreadPoolExecutor(12) as pool, web.client() as client:
        guessers = [pool.submit(guess, number) for number in range(12)]
        seconds = []
        for _ in range(100):
            begun = time.perf_counter()
            assert client.post("/api/v1/predictions/", json=CAST[0]).status_code == 201
            seconds.append(time.perf_counter() - begun)
        is_over.set()
        for guesser in guessers:
            guesser.result()

    # Of one address, twenty an hour, and as many more as were under way at that moment.
    assert statuses[200] < 25
    assert statuses[429] > 100
    # It was more than a second when each guess was hashed at once.
    assert median(seconds) < 0.5
