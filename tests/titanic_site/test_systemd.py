"""The systemd unit is what systemd accepts, shuts the product in, and leaves `up` the time that it needs."""

import json
import re
import socket
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
import trustme
from django.conf import settings

from tests.programs import NGINX, SYSTEMD_ANALYZE
from titanic_site import env
from titanic_site.runtime import last_user_guard, up

ROOT = Path(settings.BASE_DIR)
UNITS = ROOT / "deploy/systemd"
UNIT = UNITS / "titanic-mlops.service"
INSTALL = (ROOT / "docs/install.md").read_text(encoding="utf-8")
needs_systemd = pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="no systemd-analyze on this machine")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as if this clone were where docs/install.md puts it: systemd looks for the program."""
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/titanic-mlops", str(ROOT)))
    return tmp_path


@needs_systemd
def test_systemd_takes_the_units(units: Path) -> None:
    command = [str(SYSTEMD_ANALYZE), "verify", *units.iterdir()]

    verified = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", ["titanic-mlops.service", "titanic-mlops-backup.service"])
def test_the_unit_may_do_little_else(name: str, units: Path) -> None:
    command = [str(SYSTEMD_ANALYZE), "security", "--offline=true", "--json=short", "--no-pager", units / name]

    report = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    exposed = {row["json_field"] for row in json.loads(report) if row["exposure"] and float(row["exposure"]) >= 0.3}
    # It serves, by the network of this machine.
    assert exposed == {"PrivateNetwork", "RestrictAddressFamilies_AF_INET_INET6"}


def test_it_may_stop_as_long_as_up_takes() -> None:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(UNIT)
    service = parser["Service"]
    programs = sum(
        max(sum(seconds for _signal, seconds in program.stop_signals) for program in stage) for stage in up.programs()
    )

    # The programs, then PostgreSQL.
    assert int(service["TimeoutStopSec"]) > programs + last_user_guard._STOP_SECONDS
    assert service["ExecStart"].endswith("python manage.py up")


def test_systemd_is_told_by_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (f"{tmp_path}/notify", "@titanic-notify"):
        monkeypatch.setitem(env.inherited, "NOTIFY_SOCKET", address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(re.sub("^@", "\0", address))

            up.tell_systemd("READY=1")

            assert manager.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(env.inherited, "NOTIFY_SOCKET", raising=False)

    up.tell_systemd("READY=1")


@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
def test_nginx_takes_the_files_that_are_made_for_one_machine(tmp_path: Path) -> None:
    commands = re.findall(r"^(sed .+) \| sudo tee /etc/nginx/(\S+)$", INSTALL, re.MULTILINE)
    for command, name in commands:
        made = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        # Ports that everybody may listen on.
        for ours, there in (
            ("443", "8443"),
            ("listen 80;", "listen 8081;"),
            ("]:80;", "]:8081;"),
            ("/var/log/nginx", str(tmp_path)),
        ):
            made = made.replace(ours, there)
        (tmp_path / name).write_text(made)
    (tmp_path / "tls").mkdir()
    certificate = trustme.CA().issue_cert("titanic.example.org")
    certificate.private_key_pem.write_to_path(tmp_path / "tls/key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls/certificate.pem")
    command = [str(NGINX), "-t", "-q", "-e", "stderr", "-c", tmp_path / "nginx.conf", "-g", f"pid {tmp_path}/pid;"]

    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert [name for _command, name in commands] == ["nginx.conf", "listen.conf"]
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "set $web 127.0.0.1:8000;" in (tmp_path / "nginx.conf").read_text()
