"""`up` and its supervisor: programs are kept running, ended in order, and never left behind."""

import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg2
import pytest
import redis
from django.core.management import CommandError, call_command

from titanic_site.runtime import embedded, supervisor
from titanic_site.runtime import up as up_module
from titanic_site.runtime.supervisor import Program, Supervisor

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/titanic-mlops.service"
RUN = """
import json, sys, time
from pathlib import Path
from titanic_site.runtime import supervisor
from titanic_site.runtime.supervisor import Program, Supervisor
supervisor._MAX_BACKOFF_SECONDS = 0.05
directory = Path(sys.argv[1])
def is_hung(started_at):
    return (directory / "silent").exists() and not (directory / "silent").unlink()
stages = [
    [Program(name=name, command=(sys.executable, "-c", code, name), stop_signals=((15, 1.0),), is_hung=is_hung)]
    for name, code in json.loads(sys.argv[2]).items()
]
print = __import__("functools").partial(print, flush=True)
sys.exit(Supervisor(stages=stages, directory=directory, echo=print).run())
"""
#: Notes its process id under its name, and when it is ended.
WORK = """
import os, signal, sys, time
from pathlib import Path
def end(*_):
    with Path("ended").open("a") as file:
        file.write(sys.argv[1] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
draft = Path(sys.argv[1] + ".draft")
draft.write_text(str(os.getpid()))
draft.rename(sys.argv[1])
time.sleep(600)
"""
STUBBORN = WORK.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Start]:
    """Start a supervisor over programs given as name=code; stages in the order given."""
    started: list[subprocess.Popen[str]] = []

    def _start(**programs: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN, str(tmp_path), json.dumps(programs)]
        with (tmp_path / "said").open("w") as said:
            started.append(subprocess.Popen(command, stdout=said, text=True, cwd=ROOT))
        return started[-1]

    yield _start
    for process in started:
        process.terminate()
        process.wait(20)
    assert _soon(lambda: not _programs(tmp_path))


def _programs(directory: Path) -> list[psutil.Process]:
    """What a supervisor over this directory started, the supervisor itself not."""
    return [
        process for process in psutil.process_iter(["cwd", "status"]) if process.info["cwd"] == str(directory.resolve())
    ]


def _soon(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def _pid(directory: Path, name: str, *, other_than: int = 0) -> int:
    path = directory / name
    assert _soon(lambda: path.exists() and int(path.read_text()) != other_than)
    return int(path.read_text())


def test_it_works(supervise: Start, tmp_path: Path) -> None:
    supervisor = supervise(web=WORK, worker=WORK)
    _pid(tmp_path, "web")
    _pid(tmp_path, "worker")

    supervisor.terminate()

    assert supervisor.wait(10) == 0
    assert (tmp_path / "ended").read_text().split() == ["web", "worker"]
    assert not _programs(tmp_path)


def test_ctrl_c_reaches_the_supervisor_alone(supervise: Start, tmp_path: Path) -> None:
    supervisor = supervise(web=WORK)
    assert os.getpgid(_pid(tmp_path, "web")) != os.getpgid(supervisor.pid)

    supervisor.send_signal(signal.SIGINT)

    assert supervisor.wait(10) == 0


def test_a_program_that_died_is_started_again(supervise: Start, tmp_path: Path) -> None:
    supervise(web=WORK)
    first = _pid(tmp_path, "web")

    os.kill(first, signal.SIGKILL)

    assert psutil.pid_exists(_pid(tmp_path, "web", other_than=first))
    assert "web ended with code -9, restarting it" in (tmp_path / "said").read_text()


def test_what_a_dead_program_left_behind_is_ended(supervise: Start, tmp_path: Path) -> None:
    supervise(web="import os, time; os.fork() and time.sleep(600)\n" + WORK)
    child = _pid(tmp_path, "web")

    os.kill(psutil.Process(child).ppid(), signal.SIGKILL)

    assert _soon(lambda: not psutil.pid_exists(child))


def test_a_program_that_lives_but_does_not_answer_is_started_again(supervise: Start, tmp_path: Path) -> None:
    supervise(worker=STUBBORN)
    first = _pid(tmp_path, "worker")

    (tmp_path / "silent").touch()

    _pid(tmp_path, "worker", other_than=first)
    assert not psutil.pid_exists(first)
    assert "worker does not answer" in (tmp_path / "said").read_text()


def test_it_gives_up_on_a_program_that_keeps_dying(supervise: Start, tmp_path: Path) -> None:
    supervisor = supervise(web=WORK, worker="raise SystemExit(3)")

    assert supervisor.wait(30) == 1
    assert "worker died 6 times within a minute, the last time with code 3" in (tmp_path / "said").read_text()
    assert not _programs(tmp_path)


def test_a_program_that_ignores_its_end_is_killed(supervise: Start, tmp_path: Path) -> None:
    supervisor = supervise(web=STUBBORN)
    _pid(tmp_path, "web")

    supervisor.terminate()

    assert supervisor.wait(10) == 0
    assert not _programs(tmp_path)


def test_no_program_outlives_a_killed_supervisor(supervise: Start, tmp_path: Path) -> None:
    supervisor = supervise(web=WORK, worker=WORK)
    _pid(tmp_path, "web")
    _pid(tmp_path, "worker")

    supervisor.kill()

    assert _soon(lambda: not _programs(tmp_path))


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("_POLL_SECONDS", "_CALLBACK_SECONDS", "_MAX_BACKOFF_SECONDS"):
        monkeypatch.setattr(supervisor, pause, 0.001)


@pytest.mark.usefixtures("_hurried")
def test_no_duty_ends_it_and_each_failure_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    looks = iter(["failing", "failing", "fine", "failing", "failing", "stop"])

    def duty() -> None:
        match next(looks):
            case "failing":
                raise redis.ResponseError("MISCONF No space left on device.")
            case "stop":
                signal.raise_signal(signal.SIGTERM)

    code = Supervisor(stages=[], directory=tmp_path, echo=said.append, every_second=[duty]).run()

    assert code == 0
    assert said == ["MISCONF No space left on device. Trying again until it works."] * 2


@pytest.mark.usefixtures("_hurried")
def test_a_program_that_cannot_be_started_for_now_is_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    home = tmp_path / "home"
    stages = [[Program(name="web", command=("touch", "started"))]]

    def duty() -> None:
        if said:
            home.mkdir(exist_ok=True)
        if (home / "started").exists():
            signal.raise_signal(signal.SIGTERM)

    assert Supervisor(stages=stages, directory=home, echo=said.append, every_second=[duty]).run() == 0
    assert "No such file or directory" in said[0]


@pytest.mark.usefixtures("_hurried")
def test_a_full_disk_under_its_own_output_does_not_end_it(tmp_path: Path) -> None:
    looks = iter(range(3))

    def duty() -> None:
        if next(looks) == 2:
            signal.raise_signal(signal.SIGTERM)
        raise OSError("No space left on device")

    with Path("/dev/full").open("w") as full:
        full_disk = functools.partial(print, file=full, flush=True)
        assert Supervisor(stages=[], directory=tmp_path, echo=full_disk, every_second=[duty]).run() == 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.usefixtures("_hurried")
def test_once_everything_was_there_it_does_not_give_up(tmp_path: Path) -> None:
    deaths: list[str] = []

    def echo(text: str) -> None:
        deaths.append(text)
        if len(deaths) == 8:
            signal.raise_signal(signal.SIGTERM)

    stages = [[Program(name="worker", command=("false",))]]

    assert Supervisor(stages=stages, directory=tmp_path, echo=echo, is_starting=lambda: False).run() == 0
    assert deaths == ["worker ended with code 1, restarting it"] * 8


def test_a_full_disk_finds_no_hole_in_the_files_of_metrics(tmp_path: Path, settings: Any) -> None:
    settings.METRICS_DIR = tmp_path
    path = tmp_path / "counter_1.db"
    with path.open("wb") as file:
        file.write(b"counted")
        file.truncate(2**20)

    up_module._allocate_metrics()

    assert path.stat().st_blocks * 512 >= path.stat().st_size == 2**20
    assert path.read_bytes().startswith(b"counted\0")


@pytest.fixture
def up(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `manage.py up` where it refuses."""

    def _up(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "up", *arguments],
            cwd=ROOT,
            env={**os.environ, "TITANIC_HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return _up


def test_it_refuses_a_port_in_use_before_anything_is_started(
    up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        refused = up(PORT=str(port))

    assert refused.returncode == 1
    assert f"PORT {port} is in use: set PORT to a free one" in refused.stderr
    assert not (tmp_path / "postgres").exists()
    assert not (tmp_path / "up.pid").exists()


def test_it_refuses_a_host_that_is_not_this_machine(up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    refused = up(HOST="192.0.2.1")

    assert refused.returncode == 1
    assert "HOST 192.0.2.1" in refused.stderr


def test_it_refuses_a_second_one_in_the_same_home(
    up: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path / "up.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        first.stdout.readline()
        refused = up()
        first.communicate()

    assert refused.returncode == 1
    assert f"It runs already in {tmp_path}" in refused.stderr


@pytest.mark.parametrize(
    ("part", "remedy"), [("sails", "there are web, workers, scheduler"), ("web", "set DATABASE_URL and REDIS_URL")]
)
def test_it_refuses_a_part_that_it_cannot_run(part: str, remedy: str) -> None:
    with pytest.raises(CommandError, match=remedy):
        call_command("up", part)


def test_there_may_be_nothing_to_stop(up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    stopped = up("--stop")

    assert (stopped.returncode, stopped.stdout) == (0, "Nothing runs here.\n")


def test_there_may_be_nothing_to_restart(up: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    refused = up("--restart")

    assert (refused.returncode, refused.stderr) == (1, "CommandError: Nothing runs here: start it with make run.\n")


class Product:
    """A whole `up` in a home of its own, started by the very command of the systemd unit and watched from outside."""

    def __init__(self, home: Path, *, web_workers: int = 1) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = home / "output"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(f"\0{home}")
        self.manager.settimeout(5)
        (command,) = re.findall("^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command.replace("/opt/titanic-mlops", str(ROOT)).split(),
                cwd=ROOT,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": f"@{home}",
                    "TITANIC_HOME": str(home),
                    "PORT": str(self.port),
                    "WEB_WORKERS": str(web_workers),
                    "TRAINING_CANDIDATES": "3",
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def is_ready(self) -> bool:
        return f"READY http://127.0.0.1:{self.port}\n" in self.log.read_text()

    def processes(self) -> list[psutil.Process]:
        """Everything that knows this home: by its environment, or by its command line."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            words = [*process.cmdline(), process.environ().get("TITANIC_HOME", ""), process.cwd()]
        except psutil.Error:
            return False
        return any(str(self.home) in word for word in words)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all that come up: the first trains its champion."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def product(home: Path) -> Iterator[Product]:
    product = Product(home)
    yield product
    product.manager.close()
    product.process.kill()
    product.process.wait()
    _soon(lambda: not product.processes())
    for process in product.processes():
        process.kill()


@pytest.mark.timeout(600)
def test_everything_comes_up_survives_and_goes(product: Product) -> None:
    pages: list[httpx.Response | None] = []

    def look() -> bool:
        time.sleep(1)
        try:
            pages.append(httpx.get(f"http://127.0.0.1:{product.port}/", timeout=20))
        except httpx.TransportError:
            pages.append(None)
        return product.is_ready()

    assert _soon(look, 240), product.log.read_text()
    assert product.manager.recv(100) == b"READY=1"
    while pages[0] is None:
        del pages[0]
    # From the first moments on there is a page, and it gives way to the front page without a gap.
    starting = [page for page in pages if page is not None and page.status_code == 503]
    assert all('http-equiv="refresh"' in page.text for page in starting)
    assert starting
    assert httpx.get(f"http://127.0.0.1:{product.port}/").status_code == 200
    assert pages.count(None) <= 1
    credentials = product.home / "credentials.json"
    assert f"Admin: admin, the password is in {credentials}" in product.log.read_text()
    assert credentials.stat().st_mode & 0o777 == 0o600
    link = re.search(r"Sign in, once and within an hour: (http://127.0.0.1:\S+)", product.log.read_text())
    assert link
    assert "sessionid" in httpx.get(link[1]).cookies
    assert "token=" not in "".join(log.read_text() for log in (product.home / "logs").glob("*.log"))

    services = embedded.Services(embedded.Layout(product.home))
    postgres = int((product.home / "postgres/data/postmaster.pid").read_text().split()[0])
    os.kill(postgres, signal.SIGKILL)
    assert _soon(lambda: not services.postgres.is_answering(), 5)
    assert _soon(services.are_answering, 30), product.log.read_text()

    product.process.terminate()
    assert product.process.wait(60) == 0, product.log.read_text()
    assert not product.processes()
    assert not (product.home / "up.pid").exists()
    assert "Traceback" not in product.log.read_text()


@pytest.mark.timeout(600)
def test_nothing_outlives_a_killed_up(product: Product) -> None:
    assert _soon(product.is_ready, 240), product.log.read_text()

    product.process.kill()

    assert _soon(lambda: not product.processes(), 40), product.processes()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_thousand_predictions_two_restarts_and_a_killed_process_are_counted_exactly(tmp_path: Path) -> None:
    """What Prometheus adds up is what the table has; the short form is in test_life.py."""
    increases = rows = 0
    for start in range(3):
        product = Product(tmp_path, web_workers=3)
        try:
            assert _soon(product.is_ready, 240), product.log.read_text()
            url = f"http://127.0.0.1:{product.port}"
            before = _prediction_count(url)
            assert before == increases, "it goes on where it was"
            token = json.loads((tmp_path / "credentials.json").read_text())["token"]
            with ThreadPoolExecutor(8) as pool:
                answers = pool.map(functools.partial(_predict, url, token), range(3_400))
                if start == 1:
                    time.sleep(2)
                    (server,) = (
                        p
                        for p in product.processes()
                        if "granian" in p.cmdline() and p.parent().pid == product.process.pid
                    )
                    server.children()[-1].kill()
                    (worker,) = (p for p in product.processes() if "fast@%h" in p.cmdline() and p.children())
                    worker.children()[0].kill()
                assert sum(answers) > 3_300
            stream = redis.Redis.from_url(embedded.Layout(tmp_path).redis_url)
            assert _soon(functools.partial(_is_drained, stream), 60)
            with closing(
                psycopg2.connect(
                    host=str(embedded.Layout(tmp_path).sockets / "postgres"), user="titanic", dbname="titanic"
                )
            ) as open_:
                cursor = open_.cursor()
                cursor.execute("SELECT count(*) FROM predictions_prediction")
                rows = cursor.fetchone()[0]
            time.sleep(1.1)
            increases += _prediction_count(url) - before
            assert increases == rows
        finally:
            product.manager.close()
            product.process.terminate()
            product.process.wait(60)
    assert rows > 10_000


def _predict(url: str, token: str, number: int) -> bool:
    person = {"pclass": 1 + number % 3, "sex": "male", "age": 22}
    try:
        answer = httpx.post(
            f"{url}/api/v1/predictions/", json=person, headers={"Authorization": f"Token {token}"}, timeout=30
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 201


def _is_drained(client: redis.Redis) -> bool:
    return client.xlen("predictions:log") == 0


def _prediction_count(url: str) -> int:
    return sum(
        int(float(line.split()[1]))
        for line in httpx.get(f"{url}/metrics").text.splitlines()
        if line.startswith("prediction_count_total")
    )
