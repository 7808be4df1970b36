"""Another table: the steps of docs/your-own-table.md, taken in a copy of the project, lead to a system that works."""

import csv
import filecmp
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from playwright.sync_api import sync_playwright

from tests.programs import CHROMIUM

ROOT = Path(settings.BASE_DIR)
EXAMPLE = ROOT / "examples/breast_cancer"
#: What a copy does not take along: it is no part of the project.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", ".env"
)


@dataclass(frozen=True)
class Copy:
    """A copy of the project that runs with another table."""

    root: Path
    url: str
    api: httpx.Client
    rows: list[dict[str, str]]

    def finish(self, path: str, *, seconds: float = 120) -> dict[str, Any]:
        """Wait for a job to end; return it."""
        deadline = time.monotonic() + seconds
        while True:
            job: dict[str, Any] = self.api.get(path).json()
            if job["state"] not in ("queued", "running"):
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.3)

    def row(self, number: int) -> dict[str, float]:
        """Return the measurements of one row of the sample, without key and label."""
        return {name: float(value) for name, value in list(self.rows[number].items())[2:]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    root = tmp_path_factory.mktemp("copy") / "project"
    home = root.parent / "home"
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "TITANIC_HOME": str(home), "PORT": str(port), "WEB_WORKERS": "1", "ALLOWED_HOSTS": "",
                   "DRIFT_BACKEND": "scipy", "TRAINING_CANDIDATES": "3"}  # fmt: skip
    *steps, start = re.findall(
        r"^ *```sh\n(.*?)^ *```", (ROOT / "docs/your-own-table.md").read_text(), re.MULTILINE | re.DOTALL
    )
    for step in steps:
        command = step.replace(".venv/bin/python", sys.executable)
        # One column of the example may not be empty: Django asks for a default.
        subprocess.run(["sh", "-ec", command], cwd=root, env=environment, input="1\n''\n", text=True, check=True)
    assert start.strip() == "make run"
    log = root.parent / "up.log"
    with log.open("w") as out:
        command = [sys.executable, "manage.py", "up"]
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 280
        while "READY" not in log.read_text():
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.3)
        headers = {"Authorization": f"Token {json.loads((home / 'credentials.json').read_text())['token']}"}
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=headers, timeout=30) as api, _sample().open() as file:
            yield Copy(root, url, api, list(csv.DictReader(file)))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert "Traceback" not in log.read_text()


def _sample() -> Path:
    return EXAMPLE / "ingestion/sample/sample.csv"


def test_only_the_table_differs(copy: Copy) -> None:
    allowed = re.compile(
        r"ingestion/passenger\.py|features/definition\.py|ingestion/sample/.*|predictions/legacy_form\.py"
        r"|[a-z_]+/migrations/.*|locale/.*"
    )
    ours, theirs = _files(ROOT), _files(copy.root)
    same, differing, _errors = filecmp.cmpfiles(ROOT, copy.root, ours & theirs, shallow=False)

    assert len(same) > 300
    assert [name for name in sorted({*differing, *(ours ^ theirs)}) if not allowed.fullmatch(name)] == []


def _files(root: Path) -> set[str]:
    with_ours = {"core", "titanic_site", "ingestion", "features", "training", "predictions", "monitoring", "templates"}
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {
        str(path)
        for path in paths
        if path.parts[0] in with_ours | {"locale", "benchmarks", "docs", "examples"}
        and path.suffix not in (".pyc", ".mo")
    }


def test_the_first_start_leads_to_a_model_that_serves(copy: Copy) -> None:
    dataset = copy.api.get("/api/v1/datasets/1/").json()
    batch = copy.api.get("/api/v1/feature-batches/1/").json()
    model = copy.api.get("/api/v1/models/1/").json()

    assert (dataset["row_count"], dataset["problem_count"], batch["row_count"]) == (569, 0, 569)
    # A training of another test may have been promoted since.
    assert "champion" in [row["stage"] for row in copy.api.get("/api/v1/models/").json()["results"]]
    assert model["gate"]["passed"]
    assert model["metrics"]["cross_validation"]["accuracy"]["mean"] > 0.93
    assert list(model["metrics"]["importance"]) != []


def test_the_steps_alone(copy: Copy) -> None:
    with _sample().open("rb") as file:
        ingest = copy.api.post("/api/v1/datasets/", files={"file": ("again.csv", file)})
    loaded = copy.finish(ingest.headers["Location"])
    building = copy.api.post("/api/v1/feature-batches/", json={"dataset": loaded["id"]})
    built = copy.finish(building.headers["Location"])
    asked = {"feature_batch": built["id"], "candidates": 0, "algorithm": "logistic_regression"}
    trained = copy.finish(copy.api.post("/api/v1/training-runs/", json=asked).headers["Location"])

    assert (loaded["state"], built["state"], trained["state"]) == ("succeeded",) * 3, trained


def test_the_api_speaks_of_the_new_label(copy: Copy) -> None:
    answer = copy.api.post("/api/v1/predictions/", json=copy.row(0))
    unknown = copy.api.post("/api/v1/predictions/", json={"sex": "female"})
    batch = copy.api.post("/api/v1/predictions/batch/", json={"instances": [copy.row(0), copy.row(20)]}).json()
    outcome = copy.api.post(f"/api/v1/predictions/{answer.json()['id']}/outcome/", json={"malignant": True})
    schema = copy.api.get("/api/v1/schema/", headers={"Accept": "application/json"}).text

    assert answer.status_code == 201, answer.text
    assert answer.json()["malignant"] is True
    assert answer.json()["features"]["mean_radius"] == pytest.approx(17.99)
    assert [row["malignant"] for row in batch["predictions"]] == [True, False]
    assert (unknown.status_code, unknown.json()["errors"][0]["attr"]) == (400, "sex")
    assert outcome.status_code in (200, 201), outcome.text
    assert '"malignant"' in schema
    assert "surviv" not in schema.lower()
    assert re.search(r'prediction_count_total{malignant="true",model_version="\d+"', copy.api.get("/metrics").text)


def test_the_history_is_filtered_by_the_new_label(copy: Copy) -> None:
    wanted = copy.api.post("/api/v1/predictions/", json=copy.row(0)).json()["id"]
    deadline = time.monotonic() + 30
    while wanted not in copy.api.get("/api/v1/predictions/?malignant=true").text:
        assert time.monotonic() < deadline
        time.sleep(0.3)

    assert wanted not in copy.api.get("/api/v1/predictions/?malignant=false").text


def test_an_explanation_is_sampled_and_says_so(copy: Copy) -> None:
    prediction = copy.api.post("/api/v1/predictions/", json=copy.row(0)).json()
    explanation = copy.api.get(f"/api/v1/predictions/{prediction['id']}/explanation/").json()

    assert explanation["method"] == "sampled"


def test_the_open_inference_protocol_has_the_new_columns(copy: Copy) -> None:
    model = "/v2/models/breast_cancer"
    described = copy.api.get(model).json()
    inputs = [{"name": name, "datatype": "FP64", "shape": [1], "data": [value]} for name, value in copy.row(0).items()]
    answer = copy.api.post(f"{model}/infer", json={"inputs": inputs}).json()

    assert "malignant" in [output["name"] for output in described["outputs"]]
    assert next(output["data"] for output in answer["outputs"] if output["name"] == "malignant") == [True]


def test_a_file_is_scored_and_its_results_with_the_label_tell_how_right_they_are(copy: Copy) -> None:
    with _sample().open("rb") as file:
        started = copy.api.post("/api/v1/scoring-jobs/", files={"file": ("tumours.csv", file)})
    job = copy.finish(started.headers["Location"])
    lines = copy.api.get(started.headers["Location"] + "results.csv").text.splitlines()

    assert (job["state"], job["row_count"], len(lines)) == ("succeeded", 569, 570), job
    assert "predicted_malignant" in lines[0]
    # The file has the label.
    recorded = copy.api.post("/api/v1/outcomes/", files={"file": ("results.csv", "\n".join(lines).encode())}).json()
    check = copy.finish(copy.api.post("/api/v1/performance-checks/").headers["Location"])
    assert (recorded["recorded"], recorded["problems"]) == (569, [])
    assert (check["state"], check["accuracy"] > 0.9) == ("succeeded", True), check
    # Another test records an outcome of the API.
    assert "csv" in [group["name"] for group in check["report"]["channels"]]
    assert check["outcome_count"] >= 569


def _newest(copy: Copy) -> list[Any]:
    return list(copy.api.get("/api/v1/predictions/").json()["results"][:1])


def test_drift_is_checked(copy: Copy) -> None:
    shifted = [{name: value * 1.5 for name, value in copy.row(number).items()} for number in range(500)]
    last = shifted[-1]["mean_radius"]
    copy.api.post("/api/v1/predictions/batch/", json={"instances": shifted}).raise_for_status()
    deadline = time.monotonic() + 30
    # The newest 500 are looked at: others may have been logged before these.
    while [row["passenger"]["mean_radius"] for row in _newest(copy)] != [pytest.approx(last)]:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    check = copy.finish(copy.api.post("/api/v1/drift-checks/").headers["Location"])

    assert (check["state"], check["drifted"], len(check["features"])) == ("succeeded", True, 31), check


PAGES = (
    "/", "/predictions/", "/scoring/", "/datasets/", "/datasets/1/", "/features/", "/features/1/", "/runs/",
    "/models/", "/models/1/", "/monitoring/", "/monitoring/drift/", "/monitoring/performance/",
    "/schedules/", "/api/v1/docs/",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_no_page_speaks_of_the_titanic(copy: Copy, path: str) -> None:
    page = copy.api.get(path)

    assert page.status_code == 200
    text = page.text.replace("Titanic MLOps", "").replace("titanic_", "")
    assert re.findall(r".{30}(?:surviv|Titanic|aboard|passenger ship).{30}", text, re.IGNORECASE) == []


def test_the_form_in_a_browser(copy: Copy) -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(base_url=copy.url)
        page.goto("/")
        for name, value in copy.row(0).items():
            page.fill(f"[name={name}]", str(value))
        page.click("main button:has-text('Predict')")
        page.wait_for_selector("#answer .verdict")
        verdict, languages = page.inner_text("#answer .verdict"), page.locator("select[name=language] option").count()
        browser.close()

    assert "malignant" in verdict.lower()
    assert languages == 0
