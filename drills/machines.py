"""Several hosts: two web, three with workers, two schedulers, each with a home of its own.

They share PostgreSQL, Redis and a bucket alone. Under traffic one worker host is cut off from the network and comes
back, a web host and the active scheduler are killed, and one worker of a third host hangs.
"""

import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import psycopg2
from gcp_storage_emulator.server import create_server
from google.cloud import storage

from benchmarks.passengers import make
from benchmarks.product import SETTINGS, free_port
from drills.link import Link
from drills.product import ROOT, SAMPLE, tree
from drills.traffic import CLIENT_SECONDS, PASSENGERS, concurrently
from titanic_site.layout import Layout
from titanic_site.runtime import embedded

BUCKET = "ship"
FILE_ROWS, FILES, CLIENTS = 100_000, 3, 4
LEASE_SECONDS, CUT_SECONDS = 10, 30
START_SECONDS, JOB_SECONDS = 600, 600
#: How soon a scheduler takes over, a worker that hangs is replaced, and a host that is back works again.
TAKEN_OVER_WITHIN, REPLACED_WITHIN, BACK_WITHIN = 30, 180, 90
_ENDED = ("succeeded", "failed", "cancelled")
_RUNS_OF_TASKS = 'titanic_tasks_total{state="success"'


@dataclass
class Host:
    """A machine: `up` with one part of the product, its home, and its ways to what is shared."""

    name: str
    home: Path
    port: int
    links: Sequence[Link]
    up: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What `up` has printed."""
        return self.home.with_suffix(".log").read_text()

    def wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while "READY" not in self.said:
            if self.up.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{self.name} does not start: {self.said}")
            time.sleep(0.2)

    def process(self, word: str) -> psutil.Process | None:
        """Return a process of this host with this word in its command."""
        for process in tree(self.up.pid):
            with suppress(psutil.NoSuchProcess):
                if word in process.cmdline():
                    return process
        return None

    def runs_of_tasks(self) -> float:
        """Count the tasks that its workers have run, as Prometheus would read it; 0 where it would read nothing."""
        try:
            lines = httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
        except httpx.TransportError:
            return 0.0
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_RUNS_OF_TASKS))

    def kill(self) -> None:
        """End everything on it at once, as a power cut does."""
        for process in tree(self.up.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.up.wait()

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Let no packet reach or leave it while the body runs."""
        with ExitStack() as cuts:
            for link in self.links:
                cuts.enter_context(link.cut())
            yield


@dataclass
class Clients:
    """Clients that repeat a request at the other web host, under its key, until it is answered."""

    urls: Sequence[str]
    token: str
    #: Key -> the ids that were answered for it.
    ids: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    tries: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _is_over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send while the body runs; then what was begun is answered."""
        with concurrently([self._send] * CLIENTS, is_over=self._is_over):
            yield

    def _send(self) -> None:
        while not self._is_over.wait(0.2):
            number = next(self.numbers)
            key = f"machines-{number}"
            body = {**PASSENGERS[number % len(PASSENGERS)], "reference": key}
            # A second time to see that it is one prediction at every host.
            for url in itertools.islice(itertools.cycle(self.urls), number % 2, number % 2 + 2):
                self._request(url, key, body)

    def _request(self, url: str, key: str, body: dict[str, object]) -> None:
        end = time.monotonic() + 120
        for address in itertools.cycle((url, *(other for other in self.urls if other != url))):
            self.tries += 1
            with suppress(httpx.TransportError):
                answer = httpx.post(
                    f"{address}/api/v1/predictions/", json=body, timeout=CLIENT_SECONDS, trust_env=False,
                    headers={"Authorization": f"Token {self.token}", "Idempotency-Key": key},
                )  # fmt: skip
                if answer.status_code == httpx.codes.CREATED:
                    self.ids[key].add(answer.json()["id"])
                    return
            if time.monotonic() > end:
                return
            time.sleep(0.2)


class Checks:
    """What was to hold, and whether it did."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    def check(self, text: str, holds: object) -> None:
        """Print and note it."""
        print(f"{'yes' if holds else 'NO '}  {text}", flush=True)
        if not holds:
            self._failed.append(text)

    def soon(self, text: str, holds: Callable[[], object], *, within: float) -> None:
        """Wait until it holds."""
        began = time.monotonic()
        while not (is_held := holds()) and time.monotonic() < began + within:
            time.sleep(0.5)
        self.check(f"{text}, after {time.monotonic() - began:.0f} s", is_held)

    @property
    def all_hold(self) -> bool:
        return not self._failed


def drill() -> bool:
    """Run it and tell whether all held."""
    checks = Checks()
    with _hosts() as (hosts, database_url):
        web, workers, schedulers = (
            [host for host in hosts if host.name.startswith(part)] for part in ("web", "worker", "scheduler")
        )
        (token,) = (json.loads(path.read_text())["token"] for path in _credentials(hosts))
        clients = Clients([host.url for host in web], token)
        api = httpx.Client(
            base_url=web[0].url, headers={"Authorization": f"Token {token}"}, timeout=CLIENT_SECONDS, trust_env=False
        )

        def begin(path: str, **content: object) -> str:
            return str(api.post(f"/api/v1/{path}/", **content).raise_for_status().headers["Location"])

        def finish(address: str) -> dict[str, object]:
            end = time.monotonic() + JOB_SECONDS
            while (job := api.get(address).json())["state"] not in _ENDED and time.monotonic() < end:
                time.sleep(0.5)
            return job

        with clients.running(), tempfile.TemporaryDirectory() as folder:
            hung = workers[2].process("fast@%h")
            assert hung is not None
            for process in tree(hung.pid):
                process.send_signal(signal.SIGSTOP)
            hung_at = time.monotonic()

            dataset = finish(begin("datasets", json={"uri": f"gs://{BUCKET}/tables/people.csv"}))
            checks.check("a table is ingested from the bucket", dataset["state"] == "succeeded")
            batch = finish(begin("feature-batches", json={"dataset": dataset["id"]}))
            training = begin("training-runs", json={"feature_batch": batch["id"], "candidates": 3})
            # A training that loses its worker fails, and is not run again by itself: its host stays.
            while not (trains := [host for host in workers if host.process("training.subprocess_training")]):
                time.sleep(0.2)
            text = make(Path(folder) / "people.csv", row_count=FILE_ROWS).read_bytes()
            files = [begin("scoring-jobs", files={"file": ("people.csv", text)}) for _ in range(FILES)]
            while (job := api.get(files[-1]).json())["state"] == "queued":
                time.sleep(0.2)
            checks.check("a file is being scored and a model trained when it begins", job["state"] == "running")
            lost = next(host for host in workers[:2] if host not in trains)
            print(f"{lost.name} is cut off for {CUT_SECONDS} s, {web[1].name} is killed", flush=True)
            with lost.cut_off():
                time.sleep(CUT_SECONDS / 3)
                web[1].kill()
                time.sleep(CUT_SECONDS * 2 / 3)
            before = lost.runs_of_tasks()
            checks.soon(
                f"{lost.name} works again once it is back", lambda: lost.runs_of_tasks() > before, within=BACK_WITHIN
            )
            checks.check("the training succeeds", finish(training)["state"] == "succeeded")
            jobs = [finish(address) for address in files]
            checks.check("the files are scored", [job["state"] for job in jobs] == ["succeeded"] * FILES)

            sent = "SELECT coalesce(sum(total_run_count), 0) FROM django_celery_beat_periodictask"
            active = next(host for host in schedulers if _is_active(host))
            active.kill()
            (first,) = _query(database_url, sent)
            checks.soon(
                "the other scheduler takes over from the active one, which was killed",
                lambda: _query(database_url, sent)[0] > first, within=TAKEN_OVER_WITHIN,
            )  # fmt: skip
            checks.soon(
                f"{workers[2].name} replaces a worker that hangs while others take its queue",
                lambda: not hung.is_running(), within=REPLACED_WITHIN - (time.monotonic() - hung_at),
            )  # fmt: skip
            for host in workers:
                # The worker that hung had its port.
                checks.soon(f"{host.name} shows its tasks to Prometheus", host.runs_of_tasks, within=BACK_WITHIN)

        _check_requests(checks, clients, database_url)
        for job in jobs:
            (counted,) = _query(
                database_url,
                "SELECT count(*), count(DISTINCT id) FROM predictions_prediction WHERE scoring_job_id = %s", job["id"],
            )  # fmt: skip
            lines = api.get(f"/api/v1/scoring-jobs/{job['id']}/results.csv").text.splitlines()
            checks.check(
                f"each of {FILE_ROWS:,} rows of a file has one prediction and one line of the results",
                counted == (FILE_ROWS, FILE_ROWS) and len(lines) == len(set(lines)) == FILE_ROWS + 1,
            )
    return checks.all_hold


def _check_requests(checks: Checks, clients: Clients, database_url: str) -> None:
    count = next(clients.numbers)
    checks.check(
        f"all {count:,} predictions, requested {clients.tries:,} times, are answered, each with one id",
        len(clients.ids) == count and all(len(ids) == 1 for ids in clients.ids.values()),
    )
    acknowledged = {(key, answered) for key, ids in clients.ids.items() for answered in ids}

    def are_stored() -> bool:
        rows = _query(
            database_url,
            "SELECT reference, id::text FROM predictions_prediction WHERE reference LIKE %s", "machines-%",
        )  # fmt: skip
        return len(rows) == len(acknowledged) and set(rows) == acknowledged

    checks.soon("each of them is stored once", are_stored, within=60)


def _query(database_url: str, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


@contextmanager
def _hosts() -> Iterator[tuple[list[Host], str]]:
    """Start the stores, then all hosts at once, and wait until they are ready."""
    with tempfile.TemporaryDirectory(prefix="titanic-machines-") as folder, ExitStack() as at_the_end:
        stores = Layout(Path(folder) / "stores")
        services = at_the_end.enter_context(embedded.in_use(stores))
        bucket_port = free_port()
        at_the_end.enter_context(create_server("127.0.0.1", bucket_port, in_memory=True, default_bucket=BUCKET))
        os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{bucket_port}"
        # A table of its own: what is loaded already is not loaded again.
        table = SAMPLE.read_text().replace("Mr.", "Mr. A.", 1)
        with closing(storage.Client(project="drill")) as client:
            client.bucket(BUCKET).blob("tables/people.csv").upload_from_string(table)
        secret_key = secrets.token_urlsafe(50)
        hosts: list[Host] = []
        for name in ("web-1", "web-2", "worker-1", "worker-2", "worker-3", "scheduler-1", "scheduler-2"):
            home = Path(folder) / name
            home.mkdir()
            links = [
                Link(services.postgres.sockets / ".s.PGSQL.5432"), Link(services.valkey.sockets / "valkey.sock"),
                Link(bucket_port),
            ]  # fmt: skip
            postgres, valkey, bucket = (link.port for link in links)
            port = free_port()
            part = name.partition("-")[0]
            environment = {
                **os.environ, **dict.fromkeys(SETTINGS, ""), "TITANIC_HOME": str(home), "SECRET_KEY": secret_key,
                "DATABASE_URL": f"postgres://titanic@127.0.0.1:{postgres}/titanic",
                "REDIS_URL": f"redis://127.0.0.1:{valkey}/0", "ARTIFACT_BUCKET": BUCKET,
                "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{bucket}", "PORT": str(port), "WEB_WORKERS": "1",
                "METRICS_PORT": str(port) if part == "worker" else "", "JOB_LEASE_SECONDS": str(LEASE_SECONDS),
                "TRAINING_CANDIDATES": "0", "DRIFT_BACKEND": "scipy",
            }  # fmt: skip
            with home.with_suffix(".log").open("wb") as out:
                command = [sys.executable, "manage.py", "up", {"worker": "workers"}.get(part, part)]
                up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
            hosts.append(Host(name, home, port, links, up))
            at_the_end.callback(_stop, hosts[-1])
        try:
            for host in hosts:
                host.wait_until_ready()
                print(f"{host.name} is ready", flush=True)
            yield hosts, stores.database_url
        except BaseException:
            kept = Path(tempfile.mkdtemp(prefix="titanic-machines-logs-"))
            for host in hosts:
                with suppress(FileNotFoundError):
                    shutil.copytree(host.home / "logs", kept / host.name)
                shutil.copy(host.home.with_suffix(".log"), kept)
            print(f"logs of the hosts: {kept}", flush=True)
            raise


def _stop(host: Host) -> None:
    if host.up.poll() is None:
        host.up.terminate()
        try:
            host.up.wait(60)
        except subprocess.TimeoutExpired:
            host.kill()


def _credentials(hosts: Sequence[Host]) -> list[Path]:
    return [path for host in hosts if (path := host.home / "credentials.json").exists()]


def _is_active(host: Host) -> bool:
    return any("This scheduler is active" in log.read_text() for log in (host.home / "logs").glob("*.log"))
