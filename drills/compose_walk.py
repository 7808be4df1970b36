"""Walk through docker-compose.yml as its users do, under a real host name with TLS, without Docker."""

import json
import shutil
import signal
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import trustme
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect, sync_playwright

from drills.compose import ROOT, read
from drills.containers import Container, Machine
from tests.programs import CHROMIUM, NGINX, PROMETHEUS

HOST = "titanic.example.org"
ORIGIN = f"https://{HOST}"
_PASSWORD = "correct horse battery staple"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PATIENCE_SECONDS = 300
_ENV = f"""
SECRET_KEY=
SECRET_KEY_FILE=/run/secrets/secret_key
POSTGRES_PASSWORD=
POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password
ADMIN_PASSWORD_FILE=/run/secrets/admin_password
ALLOWED_HOSTS={HOST}
HTTPS=true
SITE_URL={ORIGIN}
HOST=0.0.0.0
PORT=443
DASK_SCHEDULER=tcp://dask-scheduler:8786
TRAINING_CANDIDATES=0
"""


def drill() -> bool:
    """Walk, unless this machine lacks something for it; return whether everything was as it should be."""
    if lack := lacks():
        print(f"left out, {lack}: Compose under a real host name", flush=True)
        return True
    print("drilling: Compose under a real host name", flush=True)
    try:
        walk()
    except (AssertionError, RuntimeError, httpx.HTTPError, PlaywrightError):
        traceback.print_exc()
        return False
    return True


def lacks() -> str | None:
    """Return what this machine lacks for it."""
    if sys.platform != "linux":
        return "the loopback network has one address here"
    programs = {"nginx": NGINX, "prometheus": PROMETHEUS, "chromium": CHROMIUM}
    return next((f"no {name} on this machine" for name, path in programs.items() if path is None), None)


def walk() -> None:
    """Start everything, go through it, and stop everything; raises AssertionError or RuntimeError where it fails."""
    with TemporaryDirectory(prefix="titanic-compose-") as name:
        folder = Path(name)
        # The containers' users pass through it.
        folder.chmod(0o755)
        authority = trustme.CA()
        machine = _machine(folder, authority)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        _say("starting every service of docker-compose.yml")
        with (
            machine.running(),
            _resolving(machine),
            httpx.Client(base_url=ORIGIN, verify=context, timeout=30) as client,
        ):
            credentials = json.loads((machine.volume("data") / "credentials.json").read_text())
            assert credentials["password"] == _PASSWORD
            token = {"Authorization": f"Token {credentials['token']}"}
            _reach(client)
            _ingest(client, token)
            _train(client, token, machine)
            with _frozen(machine.containers["worker-training"]):
                frozen_at = time.monotonic()
                _sign_in(client)
                _use_pages(machine)
                _predict(client, token)
                _scrape(machine)
                _wait_for_the_alert(machine, frozen_at)
            for container in reversed(machine.containers.values()):
                container.stop()
        _report(machine)


def _machine(folder: Path, authority: trustme.CA) -> Machine:
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "secret_key").write_text("".join(map(chr, range(40, 100))))
    # A password that no URL takes as it is.
    (secrets / "postgres_password").write_text("p@ss: w/rd%\n")
    (secrets / "admin_password").write_text(_PASSWORD)
    certificate = authority.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(folder / "certificate.pem", append=True)
    env, build = folder / ".env", folder / "build.env"
    env.write_text(f"{_ENV}TLS_CERTIFICATE={folder / 'certificate.pem'}\nTLS_KEY={folder / 'key.pem'}\n")
    # What stands before `docker compose build`.
    build.write_text(f"GIT_COMMIT={_COMMIT}\n")
    services = read(env, ROOT / "deploy/demo.env", build)
    # No package of this machine carries it; its files are checked by tests/monitoring/test_prometheus.py.
    del services["grafana"]
    machine = Machine(folder, services, secrets_from=secrets)
    # A second table in the bucket, for people to name.
    shutil.copy(ROOT / "ingestion/sample/sample.csv", folder / "bucket/data/titanic/new.csv")
    with (folder / "bucket/data/titanic/new.csv").open("a") as file:
        file.write('1310,0,3,"Doe, Mr. John",male,30,0,0,1,7,,S\n')
    return machine


@contextmanager
def _resolving(machine: Machine) -> Iterator[None]:
    """Let this process find the host where Compose publishes the proxy."""
    original = socket.getaddrinfo

    def getaddrinfo(host: object, port: object, *arguments: object, **options: object) -> object:
        if host in (HOST, HOST.encode()):
            host, port = machine.addresses["proxy"], 8080
        return original(host, port, *arguments, **options)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = original


@contextmanager
def _frozen(container: Container) -> Iterator[None]:
    """Stop a container's processes from running, as a hung disk does."""
    processes = container.tree()
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def _reach(client: httpx.Client) -> None:
    _say("https is answered under the host's name, http is led there, other names are refused")
    page = client.get("/")
    assert page.status_code == 200, page.text
    assert page.headers["Strict-Transport-Security"] == "max-age=3600"
    led = httpx.get(f"http://{HOST}/?q=1")
    assert (led.status_code, led.headers["Location"]) == (308, f"{ORIGIN}/?q=1"), led.headers
    assert client.get("/", headers={"Host": "other.example.org"}).status_code == 400
    assert client.get("/overview/").headers["Location"].startswith("/accounts/login/")


def _ingest(client: httpx.Client, token: dict[str, str]) -> None:
    _say("the first table came from the bucket, and a second one is loaded from there")
    (first,) = client.get("/api/v1/datasets/", headers=token).json()["results"]
    assert (first["source"], first["row_count"]) == ("gs://titanic/sample.csv", 1309), first
    started = client.post("/api/v1/datasets/", headers=token, json={"uri": "gs://titanic/new.csv"})
    assert started.status_code == 202, started.text
    dataset = _finished(client, token, started.headers["Location"])
    assert (dataset["state"], dataset["row_count"]) == ("succeeded", 1310), dataset


def _train(client: httpx.Client, token: dict[str, str], machine: Machine) -> None:
    _say("a training searches on the Dask cluster")
    (batch, *_rest) = client.get("/api/v1/feature-batches/", headers=token).json()["results"]
    wanted = {"feature_batch": batch["id"], "algorithm": "logistic_regression", "candidates": 4}
    started = client.post("/api/v1/training-runs/", headers=token, json=wanted)
    assert started.status_code == 202, started.text
    # The scheduler forgets tasks that are over.
    figures: set[str] = set()
    address = f"http://{machine.addresses['dask-scheduler']}:8787/metrics"
    run = _finished(
        client, token, started.headers["Location"], meanwhile=lambda: figures.update(httpx.get(address).text.split())
    )
    assert run["state"] == "succeeded", run
    assert any("task_prefix_name=" in figure for figure in figures), figures


def _sign_in(client: httpx.Client) -> None:
    _say("a form of another site is refused")
    client.get("/accounts/login/")
    form = {"username": "admin", "password": _PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    foreign = client.post("/accounts/login/", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403, foreign.status_code


def _use_pages(machine: Machine) -> None:
    _say("a browser signs in, predicts by the form, and finds the image's commit in the model card")
    rule = f"MAP {HOST}:443 {machine.addresses['proxy']}:8080"
    arguments = ["--no-sandbox", "--disable-gpu", f"--host-resolver-rules={rule}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(base_url=ORIGIN, ignore_https_errors=True)
        page.goto("/accounts/login/?next=/overview/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", _PASSWORD)
        page.click("main button[type=submit]")
        page.wait_for_url(f"{ORIGIN}/overview/")
        assert {cookie["name"] for cookie in page.context.cookies() if cookie["secure"]} >= {"sessionid", "csrftoken"}
        page.goto("/")
        page.select_option("[name=pclass]", "1")
        page.select_option("[name=sex]", "female")
        page.click("#ask")
        page.wait_for_selector("#answer-prediction")
        page.goto("/models/1/card/")
        expect(page.locator("main")).to_contain_text(_COMMIT)
        browser.close()


def _predict(client: httpx.Client, token: dict[str, str]) -> None:
    _say("a prediction by the API is in the log")
    body = {"pclass": 3, "sex": "male", "age": 22}
    made = client.post("/api/v1/predictions/", headers=token, json=body)
    assert made.status_code == 201, made.text
    path = f"/api/v1/predictions/{made.json()['id']}/"
    _wait(lambda: client.get(path, headers=token).status_code == 200, "the prediction is stored")


def _scrape(machine: Machine) -> None:
    _say("Prometheus scrapes, and answers each query of Grafana's dashboards")
    assert {target["health"] for target in _prometheus(machine, "targets").json()["data"]["activeTargets"]} == {"up"}
    rules = [rule for group in _prometheus(machine, "rules").json()["data"]["groups"] for rule in group["rules"]]
    assert len(rules) > 10
    assert {rule["health"] for rule in rules} == {"ok"}
    dashboards = [json.loads(path.read_text()) for path in (ROOT / "deploy/grafana/dashboards").iterdir()]
    for target in (one for board in dashboards for panel in board["panels"] for one in panel["targets"]):
        _prometheus(machine, "query", query=target["expr"])
    counted = "sum(prediction_count_total)"
    _wait(
        lambda: bool(_prometheus(machine, "query", query=counted).json()["data"]["result"]), "predictions are counted"
    )


def _wait_for_the_alert(machine: Machine, since: float) -> None:
    _say("a worker that hangs fails its health check and fires its alert")
    worker = machine.containers["worker-training"]
    _wait(lambda: not worker.is_healthy(), "the frozen worker is unhealthy")

    def is_firing() -> bool:
        alerts = _prometheus(machine, "alerts").json()["data"]["alerts"]
        return ("TitanicQueueWithoutWorker", "training", "firing") in {
            (alert["labels"]["alertname"], alert["labels"].get("queue"), alert["state"]) for alert in alerts
        }

    _wait(is_firing, "the alert fires")
    _say(f"  after {time.monotonic() - since:.0f} s")
    others = [
        container.name for container in machine.containers.values() if container.name not in (worker.name, "bootstrap")
    ]
    assert all(machine.containers[name].is_healthy() for name in others)


def _prometheus(machine: Machine, path: str, **parameters: str) -> httpx.Response:
    answer = httpx.get(f"http://{machine.addresses['prometheus']}:9090/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer


def _finished(
    client: httpx.Client, token: dict[str, str], path: str, *, meanwhile: Callable[[], object] = lambda: None
) -> dict[str, object]:
    """Wait for a job's end and return it."""
    job: dict[str, object] = {}

    def is_over() -> bool:
        meanwhile()
        job.update(client.get(path, headers=token).json())
        return job["state"] not in ("queued", "running")

    _wait(is_over, f"{path} is over")
    return job


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {_PATIENCE_SECONDS} s: {what}"
        time.sleep(0.5)


def _report(machine: Machine) -> None:
    """Print what each service took; raise AssertionError where one took more than it may."""
    print(f"{'service':16} {'healthy after':>14} {'memory':>10} {'of':>8} {'stopped in':>11} {'of':>6}")
    for name, container in machine.containers.items():
        service = container.service
        print(
            f"{name:16} {container.seconds_to_health:>12.1f} s {container.peak_bytes / 2**20:>7.0f} MB"
            f" {service.memory_bytes // 2**20:>5} MB {container.seconds_to_stop:>9.1f} s"
            f" {service.stop_seconds:>4.0f} s", flush=True
        )  # fmt: skip
        assert container.peak_bytes < service.memory_bytes, name
        assert "Traceback" not in container.log, f"{name}\n{container.log[-3000:]}"


def _say(sentence: str) -> None:
    print(f"  {sentence}", flush=True)
