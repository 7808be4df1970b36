"""Upgrade a full installation under traffic, go back to the version before, and restore its archive.

It follows docs/upgrade.md, and leaves processes of both versions beside each other for a minute.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2

from benchmarks.history import FILL
from benchmarks.product import SETTINGS, free_port
from drills.traffic import Traffic, concurrently
from titanic_site.layout import Layout
from titanic_site.runtime import embedded
from tools import OLDEST_ARCHIVED, OLDEST_UPGRADED

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "ingestion/sample/sample.csv"
#: Predictions in the log before the upgrade: a statement that rewrites them or scans them takes seconds.
LOGGED = 1_000_000
#: What a writer of the prediction log may wait (seconds) for a migration.
LONGEST_WAIT = 2.0
#: Rows of each file that is scored.
SCORED_ROWS = 50
#: How long old workers run beside the new web (seconds).
TOGETHER = 60.0
_PATIENCE = 120.0
#: Whom the versions must answer alike.
PASSENGERS = [
    {"pclass": 1 + number % 3, "sex": ("male", "female")[number % 2], "age": number % 80, "fare": number * 2.5,
     "embarked": "CQS"[number % 3], "sibsp": number % 4, "parch": number % 3}
    for number in range(100)
]  # fmt: skip
#: Asks a restored installation with the token that it had.
_ASK = """
import json, sys
from django.conf import settings
from rest_framework.test import APIClient
from predictions.models import Prediction
token = json.loads((settings.HOME / "credentials.json").read_text())["token"]
api = APIClient(headers={"Authorization": "Token " + token, "Host": "localhost"})
answers = api.post("/api/v1/predictions/batch/", json.loads(sys.stdin.read()), format="json").json()["predictions"]
print(json.dumps({"answers": answers, "count": Prediction.objects.count()}))
"""


@dataclass(frozen=True)
class Version:
    """The code of one version, run on a home."""

    name: str
    tree: Path
    environment: dict[str, str]

    def manage(self, *arguments: object, text: str = "", **environment: str) -> str:
        """Run a command of manage.py, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "manage.py", *map(str, arguments)], cwd=self.tree, input=text, text=True,
            env=self.environment | environment, capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{self.name}: manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def web(self) -> Iterator[str]:
        """Run the web server, and give its address."""
        port = free_port()
        command = ("granian", "--interface", "wsgi", "titanic_site.wsgi:application", "--port", str(port))
        with self._program(*command, "--workers", "2", "--blocking-threads", "2", "--http", "1", "--no-ws"):
            url = f"http://127.0.0.1:{port}"
            _until(lambda: _status(f"{url}/healthz") == 200, f"{self.name} web")
            yield url

    @contextmanager
    def workers(self) -> Iterator[None]:
        """Run the scheduler, a worker of the prediction log and one of the jobs, which it finishes in the end."""
        with ExitStack() as running:
            for queues, processes in (("fast", 1), ("default,scoring,training", 3)):
                name = f"{self.name}-{queues.partition(',')[0]}@%h"
                options = ("-Q", queues, "-n", name, "-c", str(processes))
                running.enter_context(self._program("celery", "-q", "-A", "titanic_site", "worker", *options))
            running.enter_context(self._program("celery", "-q", "-A", "titanic_site", "beat"))
            yield

    @contextmanager
    def _program(self, *command: str) -> Iterator[None]:
        with (Path(self.environment["TITANIC_HOME"]) / f"{self.name}-{command[0]}.out").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=self.tree, env=self.environment, stdout=out, stderr=out
            )
        try:
            yield
            assert process.poll() is None, command
        finally:
            process.terminate()
            process.wait(_PATIENCE)


@dataclass
class Jobs:
    """Jobs of several kinds that are started one after the other through the API."""

    url: str
    token: str
    locations: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start jobs while the body runs."""
        thread = threading.Thread(target=self._start_jobs)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _start_jobs(self) -> None:
        header, *rows = SAMPLE.read_text(encoding="utf-8").splitlines()
        scored = "\n".join([header, *rows[:SCORED_ROWS]])
        with _client(self.url, self.token) as api:
            self._start(api, "training-runs/", json={"algorithm": "logistic_regression", "candidates": 0})
            while not self._is_over.wait(3):
                self._start(api, "scoring-jobs/", files={"file": ("people.csv", scored)})
                # Another table each time: one is loaded once.
                loaded = "\n".join([header, *rows[: 900 + int(time.time() * 10) % 300]])
                self._start(api, "datasets/", files={"file": ("people.csv", loaded)})

    def _start(self, api: httpx.Client, path: str, **body: object) -> None:
        answer = api.post(f"/api/v1/{path}", **body)
        if answer.status_code == HTTPStatus.ACCEPTED:
            self.locations.append(urlsplit(answer.headers["Location"]).path)
        # Of one user five files are scored at a time.
        elif answer.status_code != HTTPStatus.CONFLICT:
            self.refusals.append(f"POST {path} {answer.status_code}: {answer.text[:300]}")

    def failures(self, url: str) -> list[str]:
        """Return what was not accepted, and each job that did not succeed, once all are over; any version may tell."""
        failed = list(self.refusals)
        with _client(url, self.token) as api:
            for location in self.locations:
                end = time.monotonic() + _PATIENCE
                while (job := api.get(location).json())["state"] in ("queued", "running") and time.monotonic() < end:
                    time.sleep(0.2)
                if job["state"] != "succeeded":
                    failed.append(f"{location} {job['state']}: {job['error']}")
        return failed


class LogWriter:
    """Adds a row to the prediction log again and again, takes it back, and notes how long it waited."""

    def __init__(self, database_url: str) -> None:
        self.longest = 0.0
        self._database_url = database_url

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write while the body runs."""
        is_over = threading.Event()

        def write() -> None:
            with closing(psycopg2.connect(self._database_url)) as connection:
                while not is_over.wait(0.02):
                    began = time.monotonic()
                    with connection.cursor() as cursor:
                        cursor.execute(FILL, (1, 1))
                    connection.rollback()
                    self.longest = max(self.longest, time.monotonic() - began)

        with concurrently([write], is_over=is_over):
            yield


class Report:
    """What was found, line by line, and whether all of it was right."""

    def __init__(self) -> None:
        self.is_good = True

    def add(self, sentence: str, *, is_good: bool) -> None:
        """Print a finding."""
        self.is_good &= is_good
        print(f"  {'ok ' if is_good else 'BAD'} {sentence}", flush=True)


def drill() -> bool:
    """Go through the upgrade and back; return whether all went well."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="titanic-upgrade-") as name, ExitStack() as stack:
        folder = Path(name)
        # PostgreSQL does not run as root.
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        environment = os.environ | dict.fromkeys(SETTINGS, "") | {
            "TITANIC_HOME": str(home), "SECRET_KEY": secrets.token_urlsafe(50), "JOB_LEASE_SECONDS": "10",
            "DATABASE_URL": Layout(home).database_url, "REDIS_URL": Layout(home).redis_url,
            "AUTO_PROMOTE": "false", "DJANGO_SETTINGS_MODULE": "titanic_site.settings",
        }  # fmt: skip
        old = Version("old", _tree(OLDEST_UPGRADED, folder / "old"), environment)
        archiver = Version("archiver", _tree(OLDEST_ARCHIVED, folder / "archiver"), environment)
        new = Version("new", ROOT, environment)
        stack.enter_context(embedded.in_use(Layout(home)))
        print(f"a home of {OLDEST_UPGRADED[:7]} with {LOGGED:,} predictions", flush=True)
        _fill(old)
        token = json.loads((home / "credentials.json").read_text())["token"]

        old_workers = stack.enter_context(ExitStack())
        old_workers.enter_context(old.workers())
        with old.web() as url:
            before = _answers(url, token)
            archiver.manage("backup", folder / "archive.tar")
            print("migrations while the old version works, and 20 s of it on the new schema", flush=True)
            with _use(url, token) as first:
                _migrate(new, report)
                time.sleep(20)
        with new.web() as url, ExitStack() as new_workers:
            print(f"old workers beside the new web, {TOGETHER:.0f} s; then new ones beside them, then these alone")
            with _use(url, token) as second:
                time.sleep(TOGETHER)
                new_workers.enter_context(new.workers())
                time.sleep(15)
                old_workers.close()
                time.sleep(15)
            _judge(new, url, token, [first, second], report)
            report.add("the same answers to 100 requests", is_good=_answers(url, token) == before)

        print("back to the old version", flush=True)
        _migrate(new, report, to=old)
        with old.web() as url, old.workers():
            with _use(url, token) as third:
                time.sleep(10)
            _judge(old, url, token, [third], report)
            report.add("the same answers to 100 requests", is_good=_answers(url, token) == before)

        print(f"its archive, made by {OLDEST_ARCHIVED[:7]}, in an empty home", flush=True)
        servers = {"DATABASE_URL": "", "REDIS_URL": "", "TITANIC_HOME": str(folder / "restored")}
        restored = Version("restored", ROOT, environment | servers)
        restored.manage("restore", folder / "archive.tar")
        found = json.loads(
            restored.manage("shell", "--no-imports", "-c", _ASK, text=json.dumps({"instances": PASSENGERS}))
        )
        report.add(f"{found['count']:,} predictions are there", is_good=found["count"] >= LOGGED)
        report.add("the same answers to 100 requests", is_good=_comparable(found["answers"]) == before)
    return report.is_good


def _tree(commit: str, folder: Path) -> Path:
    """Write the files of a version."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(f"{commit} is not in this clone; git fetch --unshallow brings it: {archive.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def _fill(version: Version) -> None:
    """Make a champion, an administrator with a token, and a long prediction log."""
    version.manage("migrate", "--no-input")
    version.manage("ingest", SAMPLE)
    version.manage("build_features")
    version.manage("train", "--algorithm", "logistic_regression", "--candidates", 0)
    version.manage("promote", 1)
    version.manage("bootstrap")
    with closing(psycopg2.connect(version.environment["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute(FILL, (LOGGED, LOGGED))
        connection.commit()


@contextmanager
def _use(url: str, token: str) -> Iterator[tuple[Traffic, Jobs]]:
    """Request predictions and start jobs while the body runs."""
    traffic, jobs = Traffic(url, token, clients=3), Jobs(url, token)
    with traffic.running(), jobs.running():
        time.sleep(2)
        yield traffic, jobs


def _migrate(version: Version, report: Report, *, to: Version | None = None) -> None:
    """Migrate forward, or back to what another version has, while the log is written."""
    writer = LogWriter(version.environment["DATABASE_URL"])
    patience = {"PGOPTIONS": "-c lock_timeout=2s"}
    began = time.monotonic()
    with writer.running():
        if to is None:
            version.manage("migrate", "--no-input", **patience)
        else:
            for folder in sorted(to.tree.glob("*/migrations")):
                there, here = (
                    max(path.stem for path in (tree / folder.relative_to(to.tree)).glob("0*.py"))
                    for tree in (to.tree, version.tree)
                )
                if there != here:
                    version.manage("migrate", "--no-input", folder.parent.name, there, **patience)
    report.add(
        f"migrated in {time.monotonic() - began:.1f} s, a writer of the log waited {writer.longest:.2f} s at most",
        is_good=writer.longest <= LONGEST_WAIT,
    )
    if to is None:
        # As Compose and Kubernetes do it.
        version.manage("bootstrap")
    else:
        to.manage("migrate", "--check")


def _judge(version: Version, url: str, token: str, used: Sequence[tuple[Traffic, Jobs]], report: Report) -> None:
    """Compare what was answered with what is stored, once all jobs are over."""
    failures = [failure for _traffic, jobs in used for failure in jobs.failures(url)]
    count = sum(len(jobs.locations) for _traffic, jobs in used)
    report.add("\n      ".join([f"{count} jobs, {len(failures)} of them failed", *failures]), is_good=not failures)
    errors = [answer.reason for traffic, _jobs in used for answer in traffic.errors]
    sent = sum(len(traffic.predictions) for traffic, _jobs in used)
    report.add(f"{sent} predictions requested, {len(errors)} errors {errors[:3] or ''}", is_good=not errors)
    acknowledged = set[str]().union(*(traffic.acknowledged for traffic, _jobs in used))
    with closing(psycopg2.connect(version.environment["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def numbers(query: str, *values: object) -> list[int]:
            cursor.execute(query, values)
            return [number for (number,) in cursor]

        def stored() -> list[int]:
            return numbers(
                "SELECT count(*) FROM predictions_prediction WHERE id = ANY(%s::uuid[]) GROUP BY id", list(acknowledged)
            )

        _until(lambda: len(stored()) == len(acknowledged), "the last predictions in PostgreSQL")
        rows = stored()
        scored = numbers(
            "SELECT count(*) FROM predictions_prediction WHERE scoring_job_id IS NOT NULL GROUP BY scoring_job_id"
        )
        (dead_letters,) = numbers("SELECT count(*) FROM predictions_deadletter")
    report.add(
        f"{len(acknowledged)} acknowledged, {len(acknowledged) - len(rows)} lost, {sum(rows) - len(rows)} doubled",
        is_good=len(rows) == sum(rows) == len(acknowledged),
    )
    report.add(f"{len(scored)} files scored, each row once", is_good=set(scored) == {SCORED_ROWS})
    report.add(f"{dead_letters} dead letters", is_good=not dead_letters)


def _answers(url: str, token: str) -> list[tuple[object, ...]]:
    with _client(url, token) as api:
        answer = api.post("/api/v1/predictions/batch/", json={"instances": PASSENGERS})
    return _comparable(answer.json()["predictions"])


def _comparable(answers: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [(answer["model_version"], answer["survived"], answer["probability"]) for answer in answers]


def _client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Token {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)


def _until(holds: Callable[[], bool], name: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"waited {_PATIENCE:.0f} s for {name}")
        time.sleep(0.2)


def _status(url: str) -> int:
    try:
        return httpx.get(url, trust_env=False).status_code
    except httpx.TransportError:
        return 0
