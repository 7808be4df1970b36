"""Changing champions under a load of requests, on a real server of two processes."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.core.files.storage import default_storage
from django.db import transaction

from core.content_store import sha256_of, store
from features import services as features_services
from features.definition import FEATURES, derive
from ingestion.schema import CONTRACT, to_columns
from monitoring import alerts
from monitoring.models import Alert
from tests.people import CAST
from tests.web import serving
from titanic_site.models import AccessToken
from training import estimators, export, registry
from training.models import ModelVersion, Stage, TrainingRun

# The web server has connections of its own.
pytestmark = pytest.mark.django_db(transaction=True)

CHANGES = 20
THREADS = 4
#: So many answers come from both processes.
ENOUGH = 60
#: How soon (seconds) a new champion answers everywhere.
TAKEN_UP = 2.0


@dataclass(frozen=True)
class Answer:
    """One answer under load: when it was asked for, about whom, and what came."""

    asked_at: float
    person: int
    status: int
    body: dict[str, Any]


@dataclass
class Load:
    """Threads that ask about the cast, over and over."""

    url: str
    headers: dict[str, str]
    answers: list[Answer] = field(default_factory=list)
    is_done: Event = field(default_factory=Event)

    def ask(self) -> None:
        # A connection for each request: it is anybody's guess which process answers.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=30, limits=limits) as client:
            person = 0
            while not self.is_done.is_set():
                person = (person + 1) % len(CAST)
                asked_at = time.monotonic()
                found = client.post("/api/v1/predictions/", json=CAST[person])
                self.answers.append(Answer(asked_at, person, found.status_code, found.json()))

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [Thread(target=self.ask) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.is_done.set()
            for thread in threads:
                thread.join()

    def wait_for(self, count: int) -> list[Answer]:
        """So many answers to what is asked from now on."""
        begin, seen = time.monotonic(), len(self.answers)
        while True:
            fresh = [answer for answer in self.answers[seen:] if answer.asked_at >= begin]
            if len(fresh) >= count:
                return fresh
            assert time.monotonic() < begin + 60, "the server answers no more"
            time.sleep(0.05)


@pytest.fixture
def other(champion: ModelVersion) -> ModelVersion:
    """A version that answers otherwise: it learned who had a cabin."""
    matrix = features_services.matrix(champion.feature_batch)
    pipeline = estimators.build("logistic_regression", seed=1).fit(matrix, matrix[:, FEATURES.index("HasCabin")] > 0)
    graph = export.to_graph(pipeline)
    fields = {item.name: getattr(champion, item.name) for item in ModelVersion._meta.fields if item.name != "id"}
    fields |= {
        "version": 2,
        "run": TrainingRun.objects.create(feature_batch=champion.feature_batch),
        "stage": Stage.CANDIDATE,
        "threshold": 0.25,
        "onnx_file": store(graph, suffix=".onnx"),
        "sha256": sha256_of(graph),
        "golden_rows": export.golden_rows(pipeline, matrix),
    }
    return ModelVersion.objects.create(**fields)


Serve = Callable[[], httpx.Client]


@pytest.fixture
def serve(other: ModelVersion, django_user_model: Any, tmp_path: Path) -> Iterator[Serve]:
    """Start the product's own web server with two processes on this test's database."""
    token = AccessToken.objects.create(django_user_model.objects.get(username="admin"))[1]
    with ExitStack() as started:

        def _serve() -> httpx.Client:
            web = started.enter_context(serving(token, log=tmp_path / f"{uuid4()}.log"))
            return started.enter_context(web.client())

        yield _serve


def _until(holds: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.1)


def _load_on(client: httpx.Client) -> Load:
    return Load(str(client.base_url), {"Authorization": client.headers["Authorization"]})


def _answers_of(version: ModelVersion) -> list[tuple[float, bool]]:
    """What a version says of the cast, by its own file."""
    checked = [CONTRACT.check(person)[0] for person in CAST]
    probabilities = registry.load(version).score(derive(to_columns(checked))).tolist()
    return [(probability, probability >= version.threshold) for probability in probabilities]


def _said(answer: Answer) -> tuple[float, bool]:
    return answer.body["probability"], answer.body["survived"]


def _path(version: ModelVersion) -> Path:
    return Path(default_storage.path(str(version.onnx_file.name)))


def _damage(version: ModelVersion) -> bytes:
    """Flip bytes of the version's file in its place; returns what was there."""
    path = _path(version)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 8]) + whole[middle + 8 :])
    assert path.stat().st_size == len(whole)
    return whole


def _change(client: httpx.Client, other: ModelVersion) -> None:
    """Put the other version in charge, or, where it is, the one before."""
    is_there = client.get(f"/api/v1/models/{other.version}/").json()["stage"] == "champion"
    url = "/api/v1/models/rollback/" if is_there else f"/api/v1/models/{other.version}/promote/"
    client.post(url, json={"reason": "under load"}).raise_for_status()


# Of one machine; test_life.py has it of a whole product each time.
@pytest.mark.long
def test_promotion_and_rollback_under_load_fail_no_request_and_mix_no_answers(
    champion: ModelVersion, other: ModelVersion, serve: Serve
) -> None:
    client = serve()
    load = _load_on(client)
    chance = random.Random(1912)
    expected = {version.version: _answers_of(version) for version in (champion, other)}
    assert not set(expected[1]) & set(expected[2])

    with load.running():
        load.wait_for(ENOUGH)
        for _ in range(CHANGES - 2):
            _change(client, other)
            # Now too quick for a process to notice, now slow enough for all.
            time.sleep(chance.uniform(0, 1.2))
        settled = []
        for _ in range(2):
            _change(client, other)
            time.sleep(TAKEN_UP)
            settled.append({answer.body["model_version"] for answer in load.wait_for(ENOUGH)})

    assert [answer for answer in load.answers if answer.status != 201] == []
    assert {answer.body["model_version"] for answer in load.answers} == {1, 2}
    for answer in load.answers:
        assert _said(answer) == expected[answer.body["model_version"]][answer.person]
    assert settled == [{2}, {1}]


def test_a_damaged_file_of_a_promoted_version_never_serves(
    champion: ModelVersion, other: ModelVersion, serve: Serve
) -> None:
    client = serve()
    load = _load_on(client)

    with load.running():
        load.wait_for(ENOUGH)
        whole = _damage(other)
        refused = client.post(f"/api/v1/models/{other.version}/promote/", json={})
        # Damaged a moment after the registry looked at it.
        with transaction.atomic():
            ModelVersion.objects.filter(pk=champion.pk).update(stage=Stage.RETIRED)
            ModelVersion.objects.filter(pk=other.pk).update(stage=Stage.CHAMPION)
        time.sleep(TAKEN_UP)
        load.wait_for(ENOUGH)
    alerts.evaluate_alerts()
    newcomer = serve()
    unanswered, ready = newcomer.post("/api/v1/predictions/", json=CAST[0]), newcomer.get("/readyz")
    _path(other).write_bytes(whole)
    _until(lambda: newcomer.post("/api/v1/predictions/", json=CAST[0]).status_code == 201, seconds=20)
    mended = newcomer.post("/api/v1/predictions/", json=CAST[0]).json()

    assert refused.status_code == 409
    assert [answer for answer in load.answers if answer.status != 201] == []
    assert {answer.body["model_version"] for answer in load.answers} == {1}
    assert [str(alert.subject) for alert in Alert.objects.open().filter(kind="artifact")] == ["Model 2"]
    assert unanswered.status_code == ready.status_code == 503
    reason = "Model 2 is the champion, but its file must not be used: the file's sha256 is"
    assert reason in unanswered.json()["errors"][0]["detail"]
    assert reason in ready.json()["checks"]["champion"]
    assert (mended["model_version"], mended["probability"]) == (2, _answers_of(other)[0][0])
