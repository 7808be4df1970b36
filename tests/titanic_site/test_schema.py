"""The API's schema: valid, whole, kept by the API under everything schemathesis thinks of, and enough for a client."""

import csv
import importlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import get_resolver
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from core.roles import Scope
from ingestion.passenger import EXAMPLE
from predictions import log, scoring
from predictions.models import Outcome, ScoringJob
from tests.people import CAST, table
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

HERE = Path(__file__).parent


@pytest.fixture
def schema(api: APIClient) -> Any:
    """As it is served, in JSON."""
    return json.loads(api.get("/api/v1/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").content)


@pytest.fixture
def token(champion: ModelVersion, django_user_model: Any) -> str:
    """A token for everything."""
    made: str = AccessToken.objects.create(make_user("client", "administrator"), can_admin=True)[1]
    return made


def test_it_is_valid_and_says_nothing_twice(tmp_path: Path) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


def test_every_address_of_the_api_is_in_it(schema: Any) -> None:
    (api,) = [found for found in get_resolver().url_patterns if str(found.pattern) == "api/v1/"]
    addresses = {
        str(pattern.pattern)
        for app in api.url_patterns
        for pattern in getattr(app, "url_patterns", [app])
        # A redirect from an old address is no view of the API's.
        if (view := getattr(pattern.callback, "cls", None)) is not None
        and view.__name__ != "Unknown"
        and view.schema is not None
    }
    described = {path.removeprefix("/api/v1/") for path in schema["paths"]}
    named = {address.replace("<int:", "{").replace("<uuid:", "{").replace("<str:", "{").replace(">", "}")
             for address in addresses}  # fmt: skip
    # A key called pk is called id outside.
    assert {address.replace("{pk}", "{id}") for address in named} - {"schema/", "docs/", "redoc/"} == described


def test_refusals_and_the_key_are_described(schema: Any) -> None:
    asked = schema["paths"]["/api/v1/predictions/"]["post"]

    assert {"201", "400", "401", "403", "409", "413", "415", "429", "503"} <= set(asked["responses"])
    assert "Idempotency-Key" in {parameter["name"] for parameter in asked["parameters"]}
    assert asked["requestBody"]["content"]["application/json"]["schema"]["examples"] == [EXAMPLE]


def test_every_operation_has_a_summary(schema: Any) -> None:
    summaries = {
        (method, path): operation["summary"]
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }

    assert all(0 < len(summary) < 120 and "POST" not in summary for summary in summaries.values())
    assert summaries["get", "/api/v1/datasets/"] == "Datasets, newest first"
    assert summaries["post", "/api/v1/datasets/"] == "Datasets: starts an ingest"


def test_what_may_be_null_is_said_as_openapi_3_1_says_it(schema: Any) -> None:
    assert schema["openapi"] == "3.1.0"
    assert '"nullable"' not in json.dumps(schema)


def test_a_page_names_its_neighbours(schema: Any) -> None:
    pages = [part for name, part in schema["components"]["schemas"].items() if name.startswith("Paginated")]

    assert pages
    for page in pages:
        for name in ("next", "previous"):
            link = page["properties"][name]
            assert link["type"] == ["string", "null"]
            assert all(re.fullmatch(r"https://[\w./-]+\?cursor=[\w%]+", example) for example in link["examples"])


_SHORT, _LONG = ("examples,fuzzing", 2), ("examples,coverage,fuzzing", 50)


@pytest.mark.ignore_template_errors
@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(
    ("grants", "phases", "examples"),
    [
        ([list(Scope), *([scope] for scope in Scope)], *_SHORT),
        *(pytest.param([[scope]], *_LONG, marks=pytest.mark.long, id=f"long-{scope}") for scope in Scope),
        pytest.param([list(Scope)], *_LONG, marks=pytest.mark.long, id="long-all"),
    ],
)
def test_schemathesis_finds_nothing(
    live_server: LiveServer, tmp_path: Path, grants: list[list[Scope]], phases: str, examples: int
) -> None:
    user = make_user("client", "administrator")
    tokens = [
        AccessToken.objects.create(user, **{f"can_{scope}": scope in granted for scope in Scope})[1]
        for granted in grants
    ]
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"{live_server.url}/api/v1/schema/",
        "--phases", phases, "--max-examples", str(examples), "--seed", "1912", "--continue-on-failure",
        "--request-timeout", "30", "--no-color",
    ]  # fmt: skip
    environment = {**os.environ, "TOKENS": " ".join(tokens), "PYTHONPATH": str(HERE),
                   "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stdout.partition("= WARNINGS =")[0][-6000:] + found.stderr[-2000:]


@pytest.mark.timeout(200)
@pytest.mark.ignore_template_errors
def test_a_generated_client_does_the_whole_life(  # noqa: PLR0913, PLR0917 - fixtures
    schema: Any,
    live_server: LiveServer,
    token: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    made = subprocess.run(
        [str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--path", "schema.json",
         "--meta", "none", "--output-path", "titanic_client"],
        cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    client = importlib.import_module("titanic_client").AuthenticatedClient(
        base_url=live_server.url, token=token, prefix="Token"
    )
    # The server's thread, and its connection to the database, last as long as this one.
    request.addfinalizer(lambda: client.get_httpx_client().close())

    def call(name: str, *args: Any, **kwargs: Any) -> Any:
        tag = "scoring_jobs" if name.startswith("scoring_jobs") else "predictions"
        door = importlib.import_module(f"titanic_client.api.{tag}.{name}")
        answered = door.sync_detailed(*args, client=client, **kwargs)
        assert answered.status_code < 300, answered.content
        return answered.parsed

    models = importlib.import_module("titanic_client.models")
    passenger = models.PredictionsCreateBody.from_dict(EXAMPLE)
    answer = call("predictions_create", body=passenger, idempotency_key="once")
    assert call("predictions_create", body=passenger, idempotency_key="once").id == answer.id
    told = call("predictions_explanation_retrieve", answer.id)
    assert told.base + sum(share.contribution for share in told.contributions) == pytest.approx(answer.probability)
    log.drain()
    call("predictions_outcome_create", answer.id, body=models.OutcomeRequest(survived=True))
    assert Outcome.objects.get().prediction_id == answer.id
    file = importlib.import_module("titanic_client.types").File(
        payload=io.BytesIO(table(*CAST).encode()), file_name="people.csv", mime_type="text/csv"
    )
    job = call("scoring_jobs_create", body=models.ScoringUploadRequest(file=file))
    scoring.score(ScoringJob.objects.get(pk=job.id))
    assert call("scoring_jobs_retrieve", job.id).state == "succeeded"
    text = call("scoring_jobs_results_csv_retrieve", job.id)
    assert len(list(csv.DictReader(io.StringIO(text)))) == len(CAST)
