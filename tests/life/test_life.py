"""The whole life, for real: `up` on a bare home, its own servers and workers, and a person with a browser."""

import csv
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg2
import pytest
import redis
import yaml
from django.conf import settings
from playwright.sync_api import Page, sync_playwright

from drills.drill import FIRST_SECONDS, drill
from drills.faults import FAULTS
from drills.product import Product
from predictions.scorer import RECHECK_SECONDS
from tests.life import operator
from tests.life.product import Running, started, until
from tests.people import CAST, ELISABETH, OWEN, table
from tests.programs import CHROMIUM, PROMETHEUS
from titanic_site.runtime import embedded

#: Between two requests of a client: several are always on their way, and other tests have the processors as well.
PAUSE_SECONDS = 0.02


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with started({"DRIFT_BACKEND": "alibi", "JOB_LEASE_SECONDS": "10"}) as product:
        yield product


@pytest.fixture
def page(running: Running) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser.new_page(base_url=running.url)
        browser.close()


def test_everything_is_ready(running: Running) -> None:
    # Another test may just have killed something, or emptied Redis.
    running.wait("/readyz", _is_all_well, seconds=60)

    assert "champion" in [model["stage"] for model in running.api.get("/api/v1/models/").json()["results"]]
    assert running.api.get("/api/v1/datasets/1/").json()["row_count"] == 1309
    assert (running.home / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_the_champion_is_as_good_as_promised(running: Running) -> None:
    found = running.api.get("/api/v1/models/1/").json()["metrics"]["cross_validation"]

    assert (found["folds"], found["repeats"], found["grouped_by"]) == (5, 5, "ticket")
    assert found["accuracy"]["mean"] >= 0.805
    assert found["roc_auc"]["mean"] >= 0.84
    assert found["brier"]["mean"] <= 0.1435
    assert found["log_loss"]["mean"] <= 0.457
    assert found["ece"]["mean"] <= 0.04
    for figure in ("accuracy", "roc_auc", "average_precision", "log_loss", "brier", "ece"):
        assert 0 < found[figure]["spread"] < 0.02
        assert found[figure]["low"] < found[figure]["high"]


def test_a_prediction_reaches_postgres_by_itself(running: Running) -> None:
    answer = running.api.post("/api/v1/predictions/", json=ELISABETH)

    assert answer.status_code == 201
    wanted = answer.json()["id"]
    running.wait("/api/v1/predictions/", lambda found: wanted in [row["id"] for row in found["results"]])


def test_one_id_leads_from_the_answer_through_the_logs_to_the_rows(running: Running) -> None:
    answer = running.api.post("/api/v1/scoring-jobs/", files={"file": ("x.csv", table(*CAST).encode())})
    request_id, number = answer.headers["X-Request-ID"], answer.json()["id"]
    running.finish(answer.headers["Location"])
    results = running.api.get(answer.headers["Location"] + "results.csv").text.splitlines()

    row = running.api.get(f"/api/v1/predictions/{next(csv.DictReader(results))['prediction_id']}/").json()
    lines = [line for path in running.home.glob("logs/log_*.log") for line in path.read_text().splitlines()]
    (requested,) = [line for line in lines if f"[{request_id}] " in line]
    worked = [line for line in lines if f"[{request_id} scoringjob-{number}] " in line]
    assert row["request_id"] == request_id
    assert " POST /api/v1/scoring-jobs/ 202 " in requested
    assert any(line.endswith(f"scoringjob-{number} succeeded") for line in worked)
    assert {line.split("] ")[1].split()[0] for line in worked} != {requested.split("] ")[1].split()[0]}


def test_one_passenger_gets_the_same_answer_at_every_door(running: Running, page: Page) -> None:
    # Somebody may have been promoted just now.
    time.sleep(RECHECK_SECONDS)
    models = running.api.get("/api/v1/models/").json()["results"]
    (champion,) = [model["version"] for model in models if model["stage"] == "champion"]
    alone = [running.api.post("/api/v1/predictions/", json=person).json() for person in CAST]
    batch = running.api.post("/api/v1/predictions/batch/", json={"instances": CAST}).json()["predictions"]
    started = running.api.post("/api/v1/scoring-jobs/", files={"file": ("x.csv", table(*CAST).encode())})
    running.finish(started.headers["Location"])
    scored = running.api.get(started.headers["Location"] + "results.csv").text.splitlines()[1:]
    by_form = [_ask(page, person, running) for person in CAST]

    expected = [answer["probability"] for answer in alone]
    assert {answer["model_version"] for answer in alone} == {champion}
    assert [answer["probability"] for answer in batch] == expected
    assert [float(line.rsplit(",", 5)[1]) for line in scored] == expected
    assert by_form == expected


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("width", "language"),
    [
        (390, "es"),
        *(pytest.param(*one, marks=pytest.mark.long) for one in ((390, "en"), (1280, "es"))),
        pytest.param(1280, "en", marks=pytest.mark.long, id="tour"),
    ],
)
def test_an_operator_needs_no_admin(running: Running, page: Page, width: int, language: str) -> None:
    running.wait("/readyz", _is_all_well, seconds=60)
    browser, problems = page.context.browser, list[str]()
    assert browser is not None
    screen: Any = {
        "base_url": running.url,
        "locale": language,
        "viewport": {"width": width, "height": 900},
        "reduced_motion": "reduce",
    }
    context = browser.new_context(**screen)
    # Of a wide screen in English, for docs/tour.md.
    pictures = os.environ.get("TOUR_IMAGES", "") if (width, language) == (1280, "en") else ""
    desk = operator.Desk(context.new_page(), running, language, pictures)
    desk.page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    desk.page.on("pageerror", lambda error: problems.append(str(error)))
    desk.page.on("request", lambda request: problems.append(request.url) if "/admin/" in request.url else None)

    operator.walk(desk)
    operator.by_keyboard_alone(desk)
    bare = browser.new_context(**screen, java_script_enabled=False, storage_state=context.storage_state())
    operator.without_javascript(desk, bare.new_page())

    assert problems == []


def test_the_calls_of_docs_api_do_what_they_say(running: Running, tmp_path: Path) -> None:
    page = (Path(settings.BASE_DIR) / "docs/api.md").read_text(encoding="utf-8")
    script = "".join(re.findall(r"^```sh\n(.+?)^```", page, re.DOTALL | re.MULTILINE))
    for theirs, ours in (
        ("http://127.0.0.1:8000", running.url),
        ("var/", f"{running.home}/"),
        ("@ingestion", f"@{settings.BASE_DIR}/ingestion"),
        ("curl ", "curl --silent --show-error --fail-with-body "),
    ):
        script = script.replace(theirs, ours)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"recorded":1' in done.stdout
    results = (tmp_path / "results.csv").read_text().splitlines()
    assert (len(results), "predicted_probability" in results[0]) == (1310, True)


def test_a_training_that_loses_its_worker_is_closed_and_a_new_one_succeeds(running: Running) -> None:
    run = running.api.post("/api/v1/training-runs/", json={})
    running.wait(run.headers["Location"], lambda job: job["progress"] > 0)
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "training@%h" in line and _is_below(process, running.process.pid):
            process.kill()

    closed = running.wait(run.headers["Location"], lambda job: job["state"] == "failed", seconds=150)
    again = running.api.post("/api/v1/training-runs/", json={"candidates": 0})
    trained = running.wait(again.headers["Location"], lambda job: job["state"] == "succeeded", seconds=200)

    assert "Start it again" in closed["error"]
    model = running.api.get(f"/api/v1/models/{trained['version']}/").json()
    assert model["gate"]["passed"], model["gate"]
    assert model["stage"] == "champion"


def test_promotion_and_rollback_under_load_fail_no_request_and_mix_no_answers(running: Running) -> None:
    before = _champion(running)
    other = _challenger(running, before)
    # A process that nobody asks does not look who is champion.
    until(lambda: _versions_that_answer(running) == {before}, seconds=60)

    def change_champions() -> None:
        for _ in range(5):
            running.api.post(f"/api/v1/models/{other}/promote/", json={"reason": "under load"}).raise_for_status()
            time.sleep(1.5)
            running.api.post("/api/v1/models/rollback/", json={}).raise_for_status()
            time.sleep(1.5)

    answers = _ask_while(running, change_champions)

    assert {answer.status_code for answer in answers} == {201}
    said = {(answer.json()["model_version"], answer.json()["probability"]) for answer in answers}
    assert {version for version, _probability in said} == {before, other}
    assert len(said) == 2, said


def test_an_emptied_redis_under_load_fails_no_request_and_heals_by_itself(running: Running) -> None:
    valkey = redis.Redis.from_url(embedded.Layout(running.home).redis_url)
    batch = next(
        row for row in running.api.get("/api/v1/feature-batches/?page_size=100").json()["results"] if row["current"]
    )
    stored = f"features:{batch['id']}:*:{batch['checksum']}:*"

    def empty() -> None:
        valkey.flushall()
        until(lambda: len(valkey.keys(stored)) == 2, seconds=120)

    answers = _ask_while(running, empty)

    assert {answer.status_code for answer in answers} == {201}
    assert running.api.get("/api/v1/features/1/").status_code == 200


def _web(running: Running) -> psutil.Process:
    port = str(httpx.URL(running.url).port)
    server = next(p for p in _below(running) if "granian" in p.cmdline() and port in p.cmdline())
    return random.choice(server.children())


def _drainer(running: Running) -> psutil.Process:
    return next(p for p in _below(running) if "fast@%h" in p.cmdline() and p.children()).children()[0]


def _valkey(running: Running) -> psutil.Process:
    processes = ((p, " ".join(p.info["cmdline"] or [])) for p in psutil.process_iter(["cmdline"]))
    return next(p for p, line in processes if "valkey-server" in line.split(" ")[0] and str(running.home) in line)


def _postgres(running: Running) -> psutil.Process:
    return psutil.Process(int((running.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0]))


def test_a_backup_makes_the_same_installation_elsewhere(running: Running, tmp_path: Path) -> None:
    people = [{**person, "age": age} for person in CAST for age in range(1, 76, 3)]
    batch = {"instances": people}
    before = running.api.post("/api/v1/predictions/batch/", json=batch).json()["predictions"]
    # Another system account reads it; pytest's own folder is closed to all but us.
    home = Path(tempfile.mkdtemp(prefix="titanic-restored-"))

    _manage(running.home, "backup", tmp_path / "backup.tar")
    _manage(home, "restore", tmp_path / "backup.tar")
    after = json.loads(_manage(home, "shell", "--no-imports", "-c", ANSWERS.format(home=home, batch=json.dumps(batch))))

    assert [row["probability"] for row in after["answers"]] == [row["probability"] for row in before]
    assert {row["model_version"] for row in after["answers"]} == {row["model_version"] for row in before}
    # Acknowledged before the backup: in the database of both.
    assert {row["id"] for row in before} <= set(after["logged"])
    shutil.rmtree(home)


#: Asks a restored installation with the token that it had.
ANSWERS = """
import json
from rest_framework.test import APIClient
from predictions.models import Prediction
token = json.load(open("{home}/credentials.json"))["token"]
api = APIClient(headers={{"Authorization": "Token " + token, "Host": "localhost"}})
found = api.post("/api/v1/predictions/batch/", json.loads('''{batch}'''), format="json").json()
logged = list(map(str, Prediction.objects.values_list("id", flat=True)))
print(json.dumps({{"answers": found["predictions"], "logged": logged}}))
"""


def _manage(home: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *map(str, arguments)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "TITANIC_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on this machine")
def test_a_prometheus_has_data_for_every_panel_and_every_alert(running: Running, tmp_path: Path) -> None:
    running.wait("/readyz", _is_all_well, seconds=60)
    batch = {"instances": [OWEN] * 60}
    answers = running.api.post("/api/v1/predictions/batch/", json=batch).json()["predictions"]
    wanted = answers[-1]["id"]
    running.wait("/api/v1/predictions/?page_size=100", lambda found: wanted in [row["id"] for row in found["results"]])
    outcomes = [{"prediction_id": answer["id"], "survived": False} for answer in answers]
    running.api.post("/api/v1/outcomes/", json=outcomes).raise_for_status()
    for kind in ("drift", "performance"):
        started = running.api.post(f"/api/v1/{kind}-checks/")
        # By its schedule one may be under way.
        assert started.status_code == 409 or running.finish(started.headers["Location"])["state"] == "succeeded"
    deploy = Path(settings.BASE_DIR) / "deploy"
    alerts = yaml.safe_load((deploy / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    dashboards = [json.loads(path.read_text()) for path in (deploy / "grafana" / "dashboards").iterdir()]
    targets = [target for dashboard in dashboards for panel in dashboard["panels"] for target in panel["targets"]]
    # An alert that is not raised has no data; what it compares has.
    compared = re.findall(
        r"\b(?:up|titanic|django|prediction)(?:_\w+)?\b(?:\{[^}]*\})?", " ".join(a["expr"] for a in alerts)
    )
    # As long as no request and no task has failed there is none of these.
    expressions = {target["expr"] for target in targets}
    expressions |= {one for one in compared if not re.search("5xx|failure", one)}

    with _prometheus(running, deploy / "prometheus", tmp_path) as prometheus:
        waiting = dict.fromkeys(expressions)

        def have_data() -> bool:
            for expression in list(waiting):
                answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
                assert answer["status"] == "success", answer
                if answer["data"]["result"]:
                    del waiting[expression]
            return not waiting

        try:
            until(have_data, seconds=45)
        except AssertionError:
            pytest.fail(f"no data: {sorted(waiting)}")
        rules = prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]

    assert [(rule["name"], rule["health"]) for rule in rules] == [(alert["alert"], "ok") for alert in alerts]
    assert len(expressions) > 50


@contextmanager
def _prometheus(running: Running, rules: Path, folder: Path) -> Iterator[httpx.Client]:
    """The real program with our rules, which scrapes the product each second."""
    configuration = yaml.safe_load((rules / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(rules / "alerts.yml")]
    configuration["scrape_configs"] = configuration["scrape_configs"][:1]
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{running.port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:

            def is_up() -> bool:
                assert process.poll() is None, (folder / "prometheus.log").read_text()
                try:
                    return client.get("/-/ready").status_code == 200
                except httpx.TransportError:
                    return False

            until(is_up, seconds=20)
            yield client
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "victim",
    # A web process is killed by the short drill too, PostgreSQL by the test of `up`.
    [_drainer, _valkey, *(pytest.param(find, marks=pytest.mark.long) for find in (_web, _postgres))],
    ids=lambda find: find.__name__.strip("_"),
)
def test_killed_ten_times_under_load_nothing_that_was_answered_is_lost(
    running: Running, victim: Callable[[Running], psutil.Process]
) -> None:
    """kill -9: each 201 is in Postgres exactly once, whatever else was said was a clean refusal or nothing."""
    chance = random.Random(1912)
    told: list[str] = []
    refused: list[httpx.Response] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                with httpx.Client(base_url=running.url, headers=running.api.headers, timeout=30) as client:
                    while not is_over.wait(PAUSE_SECONDS):
                        answer = client.post("/api/v1/predictions/", json=OWEN)
                        if answer.status_code == 201:
                            told.append(answer.json()["id"])
                        else:
                            refused.append(answer)
            except httpx.TransportError:
                time.sleep(0.05)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            time.sleep(chance.uniform(0.2, 1.5))
            killed = _found(victim, running)
            killed.kill()
            before = len(told)
            until(lambda start=before: len(told) > start + 20, seconds=60)  # type: ignore[misc]
    finally:
        is_over.set()
        for thread in threads:
            thread.join()

    assert {answer.status_code for answer in refused} <= {500, 502, 503, 504}, refused
    assert all("Traceback" not in answer.text for answer in refused)
    assert len(set(told)) == len(told)
    until(lambda: _stored(running, told) == len(told), seconds=90)
    # Of what was killed before it could answer, too.
    until(lambda: _counted(running) == _rows(running), seconds=30)
    running.wait("/readyz", _is_all_well, seconds=120)


@pytest.mark.parametrize("name", ["SIGSTOP PostgreSQL", "SIGSTOP Valkey", "kill -9 a web process"])
def test_a_short_drill_loses_nothing_and_heals_by_itself(running: Running, name: str) -> None:
    running.wait("/readyz", _is_all_well, seconds=60)
    (fault,) = (fault for fault in FAULTS if fault.name == name)

    result = drill(Product(running.home, running.port, running.process), fault, seconds=8)

    assert result.is_survived, result
    assert result.first_health < FIRST_SECONDS
    # It is a second where nothing else takes the processors.
    assert result.later_health < 3
    if fault.lasts:
        assert not result.errors
    running.wait("/readyz", _is_all_well, seconds=60)


def _is_all_well(readiness: Any) -> bool:
    return set(readiness["checks"].values()) == {"ok"}


def _found(victim: Callable[[Running], psutil.Process], running: Running) -> psutil.Process:
    """The process to kill; one that was killed before may be on its way back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return victim(running)
        except (StopIteration, IndexError, OSError, psutil.Error):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _stored(running: Running, ids: list[str]) -> int:
    """How many rows of Postgres have one of the ids."""
    layout = embedded.Layout(running.home)
    try:
        place = str(layout.sockets / "postgres")
        with closing(psycopg2.connect(host=place, user="titanic", dbname="titanic")) as open_, open_.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM predictions_prediction WHERE id = ANY(%s::uuid[])", [ids])
            return int(cursor.fetchone()[0])
    except psycopg2.OperationalError:
        return -1


def _rows(running: Running) -> int:
    """How many predictions Postgres has."""
    place = str(embedded.Layout(running.home).sockets / "postgres")
    with closing(psycopg2.connect(host=place, user="titanic", dbname="titanic")) as open_, open_.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM predictions_prediction")
        return int(cursor.fetchone()[0])


def _counted(running: Running) -> int:
    """The sum of all series of `prediction_count_total`."""
    series = re.findall(r"^prediction_count_total.* (\S+)$", running.api.get("/metrics").text, re.MULTILINE)
    return int(sum(map(float, series)))


def _below(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children(recursive=True)


def _champion(running: Running) -> int:
    (found,) = running.api.get("/api/v1/models/history/", params={"at": datetime.now(UTC).isoformat()}).json()
    return int(found["version"])


def _challenger(running: Running, champion: int) -> int:
    """The version of another model than the champion: of an earlier test's training, or of one of its own."""
    models = running.api.get("/api/v1/models/").json()["results"]
    if others := [model["version"] for model in models if model["version"] != champion]:
        return int(others[0])
    asked = {"algorithm": "logistic_regression", "candidates": 0}
    run = running.api.post("/api/v1/training-runs/", json=asked)
    version = running.wait(run.headers["Location"], lambda job: job["state"] == "succeeded", seconds=200)["version"]
    if _champion(running) == version:
        running.api.post(f"/api/v1/models/{champion}/promote/", json={}).raise_for_status()
    return int(version)


def _versions_that_answer(running: Running) -> set[int]:
    """Who answers on twenty connections: it is anybody's guess which process takes one."""
    url, headers = f"{running.url}/api/v1/predictions/", running.api.headers
    return {httpx.post(url, json=OWEN, headers=headers, timeout=30).json()["model_version"] for _ in range(20)}


def _ask_while(running: Running, work: Callable[[], None]) -> list[httpx.Response]:
    """Ask about one passenger, over and over in four threads, until the work is done."""
    is_done, answers = threading.Event(), []

    def ask() -> None:
        with httpx.Client(base_url=running.url, headers=running.api.headers, timeout=30) as client:
            while not is_done.wait(PAUSE_SECONDS):
                answers.append(client.post("/api/v1/predictions/", json=OWEN))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        is_done.set()
        for thread in threads:
            thread.join()
    return answers


def _ask(page: Page, person: dict[str, Any], running: Running) -> float:
    page.goto("/")
    for name, value in person.items():
        field = f"[name={name}]"
        text = "" if value is None else str(value)
        page.select_option(field, text) if page.locator(f"select{field}").count() else page.fill(field, text)
    page.click("main button:has-text('Predict')")
    page.wait_for_selector("#answer")
    link = page.get_attribute("#answer-prediction", "href")
    return float(running.api.get(f"/api/v1{link}").json()["probability"])


def _is_below(process: psutil.Process, ancestor: int) -> bool:
    try:
        return any(parent.pid == ancestor for parent in process.parents())
    except psutil.NoSuchProcess:
        return False
