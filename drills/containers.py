"""The services of docker-compose.yml as processes of this machine, each with an address of its own, and no Docker.

A path of a container is a folder of the service, the name of a service that it shares a network with is an address
of the loopback network (127.x.y.z), and programs of this machine stand in for the images that are not the product's.
"""

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

import psutil

from drills.compose import ROOT, Service, Volume, interpolate, seconds
from titanic_site.runtime.postgres import postgres_program
from titanic_site.runtime.valkey import valkey_program

_SYSTEM = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
_NOBODY = pwd.getpwnam("nobody").pw_uid
_PATIENCE_SECONDS = 300
_POLL_SECONDS = 0.2
_VENV = Path(sys.executable).parent
#: What the images of these services run, where `{}` is the service's address; the options that Compose gives follow.
_PROMETHEUS = ["prometheus", "--web.listen-address={}:9090"]
_NGINX = ["nginx", "-e", "stderr", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off; pid /run/nginx.pid;"]
_NGINX_FILES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_STOP_SIGNALS = {"proxy": signal.SIGQUIT, "postgres": signal.SIGINT}
#: A bucket's emulator with the files below its folder /data/BUCKET, as the image takes them.
_BUCKET = """
import sys, threading
from pathlib import Path
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

server = create_server(sys.argv[1], 4443, in_memory=True)
server.start()
endpoint = {"api_endpoint": f"http://{sys.argv[1]}:4443"}
client = storage.Client(project="walk", credentials=AnonymousCredentials(), client_options=endpoint)
for folder in Path(sys.argv[2]).iterdir():
    bucket = client.create_bucket(folder.name)
    for path in folder.iterdir():
        bucket.blob(path.name).upload_from_filename(str(path))
threading.Event().wait()
"""
#: Makes a cluster as the image does, and runs it.
_POSTGRES = """
initdb --pgdata={data} --username="$POSTGRES_USER" --auth=scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE" -E UTF8
echo "host all all all scram-sha-256" >> {data}/pg_hba.conf
echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D {data} postgres
exec postgres -D {data} -c listen_addresses={address} -c unix_socket_directories= -c timezone=UTC
"""


@dataclass
class Container:
    """A service's process, and what was seen of it."""

    name: str
    service: Service
    address: str
    folder: Path
    environment: dict[str, str]
    command: list[str]
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    seconds_to_health: float = 0.0
    seconds_to_stop: float = 0.0
    peak_bytes: int = 0
    health_command: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start the process."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def is_healthy(self) -> bool:
        """Run the health check as Docker does."""
        assert self.service.healthcheck
        checked = subprocess.run(
            self.health_command, cwd=self.directory, env=self.environment, capture_output=True,
            timeout=4 * seconds(self.service.healthcheck.timeout), check=False,
        )  # fmt: skip
        return checked.returncode == 0

    def wait_until(self, condition: str) -> None:
        """Return when it is healthy or has completed, as `depends_on` says; raises RuntimeError where it is neither."""
        assert self.process
        if self.seconds_to_health:
            return
        began = time.monotonic()
        while time.monotonic() < began + _PATIENCE_SECONDS:
            code = self.process.poll()
            if code == 0 and condition == "service_completed_successfully":
                self.seconds_to_health = time.monotonic() - began
                return
            if code is not None:
                break
            if condition == "service_healthy" and self.is_healthy():
                self.seconds_to_health = time.monotonic() - began
                return
            time.sleep(_POLL_SECONDS)
        raise RuntimeError(f"{self.name}: not {condition}\n{self.log[-3000:]}")

    def tree(self) -> list[psutil.Process]:
        """Return its processes."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        return []

    def measure(self) -> None:
        """Note how much memory its processes have now; what they share counts once."""
        used = 0
        for process in self.tree():
            with suppress(psutil.Error):
                used += process.memory_full_info().pss
        self.peak_bytes = max(self.peak_bytes, used)

    def stop(self) -> None:
        """Stop it as `docker compose stop` does; raises RuntimeError where it takes longer than it has."""
        assert self.process
        began = time.monotonic()
        self.process.send_signal(_STOP_SIGNALS.get(self.name, signal.SIGTERM))
        try:
            self.process.wait(self.service.stop_seconds)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{self.name} did not stop within {self.service.stop_grace_period}") from error
        finally:
            self.kill()
        self.seconds_to_stop = time.monotonic() - began

    def kill(self) -> None:
        """End whatever is left of it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Machine:
    """All services in one folder."""

    def __init__(self, folder: Path, services: dict[str, Service], *, secrets_from: Path) -> None:
        self._folder = folder
        self._secrets = secrets_from
        # Whoever walks at the same time has other addresses.
        net = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
        self._services = {
            f"{name}-{number}" if number > 1 else name: service
            for name, service in services.items()
            for number in range(1, service.deploy.replicas + 1)
        }
        self.addresses = {name: f"{net}.{number}" for number, name in enumerate(self._services, start=1)}
        self._image = self._copy_image()
        self._make_programs()
        self.containers = {name: self._container(name, service) for name, service in self._services.items()}
        self._is_over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start each service when those that it depends on have come so far, as `docker compose up` does."""
        watch = threading.Thread(target=self._watch)
        try:
            watch.start()
            for container in self.containers.values():
                self._start(container)
            for container in self.containers.values():
                container.wait_until(
                    "service_healthy" if container.service.healthcheck else "service_completed_successfully"
                )
            yield
        finally:
            self._is_over.set()
            watch.join()
            for container in self.containers.values():
                container.kill()

    def volume(self, name: str) -> Path:
        """Return the folder of a volume."""
        return self._folder / "volumes" / name

    def _start(self, container: Container) -> None:
        if container.process is None:
            for name, dependency in container.service.depends_on.items():
                self._start(self.containers[name])
                self.containers[name].wait_until(dependency.condition)
            container.start()

    def _watch(self) -> None:
        while not self._is_over.wait(2):
            for container in self.containers.values():
                container.measure()

    def _copy_image(self) -> Path:
        """Copy what the Dockerfile copies; nobody may write there."""
        image = self._folder / "image"
        image.mkdir()
        for line in (ROOT / ".dockerignore").read_text().splitlines():
            if line.startswith("!"):
                source = ROOT / line[1:]
                if source.is_dir():
                    shutil.copytree(source, image / source.name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, image)
        subprocess.run(["chmod", "-R", "a-w,a+rX", str(image)], check=True)
        return image

    def _make_programs(self) -> None:
        """Write stand-ins for programs that images carry and this machine may lack."""
        fetch = (
            "import ssl, sys, urllib.request as u; u.urlopen(sys.argv[-1], context=ssl._create_unverified_context())"
        )
        ping = "import os, redis; redis.Redis(os.environ['REDIS_HOST']).ping()"
        programs = {"curl": fetch, "wget": fetch, "redis-cli": ping}
        folder = self._folder / "bin"
        folder.mkdir()
        for name, code in programs.items():
            (folder / name).write_text(f'#!/bin/sh\nexec {quote(sys.executable)} -c {quote(code)} "$@"\n')
            (folder / name).chmod(0o755)

    def _container(self, name: str, service: Service) -> Container:
        folder = self._folder / name
        folder.mkdir()
        paths = {mount.target: self._mount(mount, folder) for mount in service.mounts}
        if name == "proxy":
            paths["/run"] = folder / "run"
            paths["/run"].mkdir()
        here = Substitution(name, self._services, self.addresses, paths)
        for path in folder.rglob("*.conf"):
            # What is compiled into the image's nginx; and it has its ports to itself.
            temporary = "".join(f"{kind}_temp_path /var/cache/nginx/{kind};" for kind in _NGINX_FILES)
            text = path.read_text().replace("http {", f"http {{ {temporary}")
            path.write_text(here(text.replace("listen 8080", f"listen {self.addresses[name]}:8080")))
        for path in folder.rglob("*.yml"):
            path.write_text(here(path.read_text()))
        in_image = re.findall(r"([A-Z_]+)=(\S+)", interpolate(_dockerfile("ENV"), service.build.args))
        environment = {
            **dict(in_image if service.is_ours else ()),
            **service.environment,
            "PATH": ":".join(map(str, (self._folder / "bin", _VENV, postgres_program("postgres").parent, _SYSTEM))),
            # As in a container: nobody may write into it.
            "HOME": str(self._image) if service.is_ours else str(folder),
            "PGHOST": self.addresses[name],
            "REDIS_HOST": self.addresses[name],
            "TMPDIR": str(paths.get("/tmp", folder)),
        }
        return Container(
            name=name,
            service=service,
            address=self.addresses[name],
            folder=folder,
            environment={
                key: here(value or "") if key != "PATH" else value or "" for key, value in environment.items()
            },
            command=[*_rights(name, service), *(here(word) for word in self._command(name, service, folder, paths))],
            directory=self._image if service.is_ours else folder,
            health_command=[here(word) for word in service.healthcheck.command] if service.healthcheck else [],
        )

    def _command(self, name: str, service: Service, folder: Path, paths: dict[str, Path]) -> Sequence[str]:
        address = self.addresses[name]
        if service.is_ours:
            command = service.command or [str(word) for word in json.loads(_dockerfile("CMD"))]
        elif name == "postgres":
            data = paths["/var/lib/postgresql/data"]
            command = ["sh", "-ec", _POSTGRES.format(data=data, address=address)]
            if not os.geteuid():
                # It refuses to be root, and wants a user who has a name.
                os.chown(data, _NOBODY, _NOBODY)
        elif name == "redis":
            command = [str(valkey_program()), *service.command[1:], "--bind", address, "--dir", str(paths["/data"])]
            command += ["--protected-mode", "no"]
        elif name == "prometheus":
            command = [*(word.format(address) for word in _PROMETHEUS), *service.command]
        elif name == "bucket":
            command = [sys.executable, "-c", _BUCKET, address, str(folder / "data")]
        else:
            command = _NGINX
        return command

    def _mount(self, mount: Volume, folder: Path) -> Path:
        """Make what stands at a path of the container, and return where it is here."""
        own = folder / mount.target.lstrip("/")
        own.parent.mkdir(parents=True, exist_ok=True)
        source = self._secrets if mount.source == "./deploy/secrets" else ROOT / mount.source
        if mount.source.startswith(("/", ".")):
            if source.is_dir():
                shutil.copytree(source, own)
            elif source.is_file():
                shutil.copy(source, own)
            return own
        path = self.volume(mount.source) if mount.source else own
        path.mkdir(parents=True, exist_ok=True)
        return path


class Substitution:
    """What stands here for the paths and names of one container."""

    def __init__(
        self, name: str, services: dict[str, Service], addresses: dict[str, str], paths: dict[str, Path]
    ) -> None:
        shared = services[name].networks
        near = sorted((other for other in services if services[other].networks & shared), key=len, reverse=True)
        targets = sorted(paths, key=len, reverse=True)
        self._values = {
            **{other: addresses[other] for other in near},
            **{target: str(paths[target]) for target in targets},
            **dict.fromkeys(("127.0.0.1", "0.0.0.0"), addresses[name]),
        }  # fmt: skip
        # A name stands before a port, a path after its option or alone; a network is no address.
        self._pattern = re.compile(
            rf"(?<![\w.-])(?:{'|'.join(map(re.escape, near))})(?=:\d)"
            rf"|(?<![\w.])(?:127\.0\.0\.1|0\.0\.0\.0)(?![\d/])"
            + (rf"|(?<![\w/.:])(?:{'|'.join(map(re.escape, targets))})(?![\w.-])" if targets else "")
        )

    def __call__(self, text: str) -> str:
        """Return the text as it is for this machine."""
        return self._pattern.sub(lambda match: self._values[match[0]], text)


def _rights(name: str, service: Service) -> list[str]:
    """Return the command that starts another without capabilities, and with no way to gain any.

    Who is root here stays so, as the owner of all files: the interpreter may lie where others do not come.
    """
    kept = "".join(f",+{name.lower()}" for name in service.cap_add)
    drop = [] if os.geteuid() else ["--inh-caps=-all", f"--bounding-set=-all{kept}"]
    if drop and name == "postgres":
        drop += [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return ["setpriv", "--no-new-privs", *drop]


def _dockerfile(instruction: str) -> str:
    """Return what follows an instruction of the Dockerfile, of all its lines."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return "\n".join(line.removeprefix(instruction).strip() for line in lines if line.startswith(f"{instruction} "))
