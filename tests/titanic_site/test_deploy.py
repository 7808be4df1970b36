"""The files that deploy the product are what their tools accept, and agree with the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from titanic_site import up

ROOT = Path(settings.BASE_DIR)
BIN = Path(sys.executable).parent


def test_compose_follows_the_specification() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"]

    assert subprocess.run(command, check=False).returncode == 0


def test_hadolint_has_nothing_to_say() -> None:
    assert subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=False).returncode == 0


def test_every_queue_has_a_worker() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    commands = [service.get("command", []) for service in services.values()]
    served = {queue for command in commands if "-Q" in command for queue in command[command.index("-Q") + 1].split(",")}

    assert served == set(settings.QUEUES)


def test_old_s38_every_image_has_a_version() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    for service in services.values():
        assert service["image"].partition(":")[2] not in ("", "latest")


@pytest.mark.parametrize("name", ["run.txt", "test.txt"])
def test_requirements_are_hashed_and_name_no_registry(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()

    assert "--hash=sha256:" in text
    assert "http:" not in text
    assert "https:" not in text
    assert "--index-url" not in text


def _names_in_the_example() -> set[str]:
    return set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_every_setting_is_in_the_example() -> None:
    code = (ROOT / "titanic_site/env.py").read_text()

    assert set(re.findall(r'\(env, "([A-Z_]+)"', code)) <= _names_in_the_example()


def test_compose_passes_every_setting_on() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    ours = [service for service in services if service["image"].startswith("titanic-mlops:")]

    assert len(ours) == 6
    for service in ours:
        assert service["env_file"] == [{"path": ".env", "required": False}]
        # What stands here wins over the file: nothing that a person may choose, unless his choice is passed on.
        fixed = {name for name, value in service["environment"].items() if f"${{{name}:" not in value}
        assert fixed == {"TITANIC_HOME", "HOST", "PORT"}


def test_it_starts_with_every_setting_made(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin", "TITANIC_HOME": str(tmp_path), "SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "example.org",
        "CSRF_TRUSTED_ORIGINS": "https://example.org", "HOST": "127.0.0.1", "PORT": "8123", "WEB_WORKERS": "3",
        "SOURCE_URI": "gs://ship/people.csv", "ARTIFACT_BUCKET": "ship", "DASK_SCHEDULER": "tcp://127.0.0.1:8786",
        "AUTO_PROMOTE": "false", "API_ALLOW_ANONYMOUS": "true", "LOGIN_REQUIRED": "true", "THROTTLE_PREDICT": "100/s",
        "THROTTLE_ANON": "10/m", "DRIFT_BACKEND": "scipy", "ALERT_WEBHOOK_URL": "https://example.org/hook",
        "ADMIN_PASSWORD": "secret", "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:4443", "DATABASE_URL": "postgres://titanic:secret@postgres/titanic",
        "REDIS_URL": "redis://redis:6379/0", "EMAIL_URL": "submission://user:password@example.org:587",
        "LOG_FORMAT": "json", "DEBUG": "true", "POSTGRES_PASSWORD": "secret",
    }  # fmt: skip
    assert _names_in_the_example() <= environment.keys()
    code = "import django; django.setup(); from django.core.management import call_command; call_command('check')"

    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**environment, "DJANGO_SETTINGS_MODULE": "titanic_site.settings"},
        check=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"), ("PORT", "99999"), ("WEB_WORKERS", "0"), ("DEBUG", "perhaps"), ("DRIFT_BACKEND", "magic"),
        ("LOG_FORMAT", "xml"), ("THROTTLE_PREDICT", "fast"), ("DATABASE_URL", "postgres://x"), ("REDIS_URL", "redis://x"),
        ("CSRF_TRUSTED_ORIGINS", "example.org"), ("ARTIFACT_BUCKET", "gs://ship"), ("EMAIL_URL", "nonsense://"),
        ("ALERT_WEBHOOK_URL", "example.org/hook"), ("ALERT_WEBHOOK_URL", "http://[::1"),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_the_start_with_one_sentence(name: str, value: str, tmp_path: Path) -> None:
    environment = {"TITANIC_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", name: value}
    code = "from titanic_site import env; env.read()"

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_image_has_the_heap_of_the_embedded_installation() -> None:
    (line,) = re.findall(r"^ENV (MALLOC_.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert dict(pair.split("=") for pair in line.split()) == up.HEAP
