"""The files that deploy the product are what their tools accept, and agree with the code."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from django.conf import settings
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator

from drills.compose import MissingSettingError, Service, Volume, read
from tests.programs import NGINX
from titanic_site.runtime import up

ROOT = Path(settings.BASE_DIR)
APPS = ("ingestion", "features", "training", "predictions", "monitoring", "titanic_site")
BIN = Path(sys.executable).parent


def test_compose_follows_the_specification() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"]

    assert subprocess.run(command, check=False).returncode == 0


def test_hadolint_has_nothing_to_say() -> None:
    assert subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=False).returncode == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")
def test_nginx_takes_its_configuration(scheme: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy/nginx", tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / f"deploy/nginx/listen-{scheme}.conf", tmp_path / "listen.conf")
    (tmp_path / "tls").mkdir()
    certificate = trustme.CA().issue_cert("titanic.example.org")
    certificate.private_key_pem.write_to_path(tmp_path / "tls/key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls/certificate.pem")
    command = [str(NGINX), "-t", "-q", "-e", "stderr", "-c", tmp_path / "nginx.conf", "-g", f"pid {tmp_path}/pid;"]

    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_proxy_takes_files_where_the_product_does() -> None:
    (address,) = re.findall(r"location ~ (\S+) \{", (ROOT / "deploy/nginx/nginx.conf").read_text())
    form = re.compile(r"""action="{% url '(\w+)'([^%]*)%}"\s+enctype="multipart/form-data">""")
    pages = {
        reverse(name, args=[1] if argument.strip() else [])
        for template in (ROOT / "templates").rglob("*.html")
        for name, argument in form.findall(template.read_text())
    }
    operations = [
        (path, "multipart/form-data" in operation.get("requestBody", {}).get("content", {}))
        for path, methods in SchemaGenerator().get_schema(public=True)["paths"].items()
        for operation in methods.values()
    ]
    files = pages | {path for path, takes_file in operations if takes_file}
    files |= {path.removesuffix("/") for path in files}
    others = {"/", "/predict", "/accounts/login/", "/admin/"} | {path for path, _takes_file in operations}

    assert len(pages) == 4
    assert {path for path in files | others if re.match(address, path)} == files


def compose(folder: Path, *lines: str) -> dict[str, Service]:
    """The services of docker-compose.yml with this .env."""
    path = folder / "env"
    path.write_text("\n".join(lines))
    return read(path)


@pytest.fixture
def services(tmp_path: Path) -> dict[str, Service]:
    """What Compose starts with the two settings that it needs."""
    return compose(tmp_path, "SECRET_KEY=key", "POSTGRES_PASSWORD=secret")


def test_compose_knows_its_address(tmp_path: Path) -> None:
    needed = ("SECRET_KEY=key", "POSTGRES_PASSWORD=secret")
    with_tls = ("PORT=8443", "TLS_CERTIFICATE=./certificate.pem")

    assert compose(tmp_path, *needed)["web"].environment["SITE_URL"] == "http://127.0.0.1:8000"
    served = compose(tmp_path, *needed, *with_tls, "TLS_KEY=./key.pem")
    assert served["web"].environment["SITE_URL"] == "https://127.0.0.1:8443"
    assert Volume("/etc/nginx/tls/key.pem", "./key.pem") in served["proxy"].mounts


def test_nothing_is_required_within_a_default() -> None:
    """Compose from before 2026 evaluates defaults that it does not use: SECRET_KEY alone would be refused."""
    assert not re.findall(r"\{\w+:?[-+][^\n]*\{\w+:?\?", (ROOT / "docker-compose.yml").read_text())


def test_every_queue_has_a_worker(services: dict[str, Service]) -> None:
    commands = [service.command for service in services.values()]
    served = {queue for command in commands if "-Q" in command for queue in command[command.index("-Q") + 1].split(",")}

    assert served == set(settings.QUEUES)


def test_old_s38_every_image_has_a_version(services: dict[str, Service]) -> None:
    for service in services.values():
        assert service.image.partition(":")[2] not in ("", "latest")


def test_every_container_is_limited_and_watched(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service.read_only, name
        assert service.cap_drop == ["ALL"], name
        assert service.security_opt == ["no-new-privileges:true"], name
        assert service.memory_bytes >= 2**28, name
        # One runs once; all others tell how they are and are started again.
        assert (service.healthcheck is None, service.restart) == (
            (True, "no") if name == "bootstrap" else (False, "unless-stopped")
        ), name


def test_only_trainings_reach_what_runs_code(services: dict[str, Service]) -> None:
    inside = {name for name, service in services.items() if "dask" in service.networks}

    assert inside == {"dask-scheduler", "dask-worker", "worker-training", "bootstrap"}
    assert {name for name in inside if services[name].environment or services[name].env_file} == {
        "worker-training",
        "bootstrap",
    }


def test_the_stores_are_reached_by_the_product_alone(services: dict[str, Service]) -> None:
    inside = {name for name, service in services.items() if "stores" in service.networks and not service.is_ours}

    assert inside == {"postgres", "redis", "bucket"}


def test_the_image_takes_what_runs_and_no_secrets() -> None:
    _first, everything, *lines = (ROOT / ".dockerignore").read_text().splitlines()
    taken = {line.removeprefix("!") for line in lines if line.startswith("!")}

    assert everything == "*"
    assert taken == {*APPS, "core", "locale", "manage.py", "requirements", "templates"}


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
    code = (ROOT / "titanic_site/settings.py").read_text()

    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', code))
    assert len(names) > 20
    assert names <= _names_in_the_example()


#: Facts of a container, which nobody chooses: `.env` says by HOST and PORT where the proxy is reached.
OF_THE_CONTAINER = {"TITANIC_HOME", "HOST", "PORT", "TRUSTED_PROXIES", "HEARTBEAT_PATH"}


def test_compose_passes_every_setting_on(tmp_path: Path) -> None:
    values = {name: f"value of {name}" for name in _names_in_the_example() | {"NAME_FILE"}}

    services = compose(tmp_path, *(f"{name}='{value}'" for name, value in values.items()))

    ours = {name: service for name, service in services.items() if service.is_ours and not name.startswith("dask-")}
    assert len(ours) == 6
    for name, service in ours.items():
        # Their counters meet in one directory: web shows those of workers and scheduler.
        assert Volume(service.environment["TITANIC_HOME"] or "", "data") in service.mounts
        changed = {setting for setting, value in values.items() if service.environment[setting] != value}
        # The key's file is mounted where this path leads.
        assert changed == OF_THE_CONTAINER | {"GOOGLE_APPLICATION_CREDENTIALS"}, name
        key = Volume(
            service.environment["GOOGLE_APPLICATION_CREDENTIALS"] or "", values["GOOGLE_APPLICATION_CREDENTIALS"]
        )
        assert key in service.mounts
        assert service.environment["GRANIAN_WORKERS"] == values["WEB_WORKERS"]


def test_the_code_reads_no_setting_but_by_env() -> None:
    """What `settings.py` reads by another way would be in no list, and so reach no container."""
    files = [path for app in (*APPS, "core") for path in (ROOT / app).rglob("*.py") if path.name != "env.py"]
    # The certificates of requests are no setting of ours.
    reads = re.compile(r'getenv|environ(\.(get|pop)\((?!"REQUESTS_CA_BUNDLE")|\[[^]]+\](?! =))')

    assert [path.name for path in files if reads.search(path.read_text())] == []


def test_secrets_come_as_files_too(tmp_path: Path) -> None:
    lines = ["SECRET_KEY_FILE=/run/secrets/key", "POSTGRES_PASSWORD_FILE=/run/secrets/password"]
    empty = ["SECRET_KEY=", "POSTGRES_PASSWORD="]
    services = compose(tmp_path, *lines, *empty)
    reached = services["web"].environment, services["postgres"].environment

    for number, line in enumerate(lines):
        name, path = line.split("=")
        assert reached[number][name] == path
        with pytest.raises(MissingSettingError, match=name):
            compose(tmp_path, *lines, *(other for other in empty if other != empty[number]))
    assert services["postgres"].environment["POSTGRES_PASSWORD"] == ""
    assert Volume("/run/secrets", "./deploy/secrets") in services["postgres"].mounts


def test_a_setting_is_read_from_its_file(tmp_path: Path) -> None:
    secrets = {
        "SECRET_KEY": "".join(map(chr, range(60, 120))), "POSTGRES_PASSWORD": "p@ss:w/rd", "REDIS_URL": "redis://r/0",
        "PORT": "81", "ALERT_WEBHOOK_SECRET": "s\u00e9cret",
    }  # fmt: skip
    for name, value in secrets.items():
        (tmp_path / name).write_text(f"{value}\n")
    code = (
        "from titanic_site import settings as s;"
        "print(s.SECRET_KEY, s.DATABASES['default']['PASSWORD'], s.REDIS_URL, s.PORT, s.ALERT_WEBHOOK_SECRET)"
    )
    environment = {
        "PATH": "/usr/bin:/bin", "TITANIC_HOME": str(tmp_path), "DATABASE_URL": "postgres://titanic@postgres/titanic",
        # The file goes before the variable, which Compose may have set.
        "PORT": "80", **{f"{name}_FILE": str(tmp_path / name) for name in secrets},
    }  # fmt: skip

    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert printed.stdout.strip() == " ".join(secrets.values())


def test_it_starts_with_every_setting_made(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin:/bin", "TITANIC_HOME": str(tmp_path), "SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "example.org",
        "CSRF_TRUSTED_ORIGINS": "https://example.org", "HOST": "127.0.0.1", "PORT": "8123", "WEB_WORKERS": "3",
        "METRICS_PORT": "9808",
        "SOURCE_URI": "gs://ship/people.csv", "ARTIFACT_BUCKET": "ship", "DASK_SCHEDULER": "tcp://127.0.0.1:8786",
        "AUTO_PROMOTE": "false", "TRAINING_CANDIDATES": "9", "API_ALLOW_ANONYMOUS": "true", "LOGIN_REQUIRED": "true",
        "PUBLIC_FORM": "false", "THROTTLE_PREDICT": "100/s",
        "THROTTLE_ANON": "10/m", "DRIFT_BACKEND": "scipy", "ALERT_WEBHOOK_URL": "https://example.org/hook",
        "ALERT_WEBHOOK_SECRET": "secret", "ALERT_EMAILS": "ann@example.org",
        "ALERT_LANGUAGE": "es", "ALERT_TIME_ZONE": "Europe/Madrid", "SITE_URL": "https://example.org/",
        "ALERTS_KEPT_DAYS": "30", "ADMIN_PASSWORD": "secret", "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:4443", "DATABASE_URL": "postgres://titanic:secret@postgres/titanic",
        "REDIS_URL": "redis://redis:6379/0", "EMAIL_URL": "submission://user:password@example.org:587",
        "LOG_FORMAT": "json", "ACCESS_LOG": "false", "LOG_KEPT_DAYS": "7",
        "HTTPS": "true", "HSTS_SECONDS": "31536000", "SESSION_HOURS": "24",
        "THROTTLE_SIGN_IN": "5/m", "JOB_LEASE_SECONDS": "90", "DEBUG": "true", "POSTGRES_PASSWORD": "secret",
        "AUDIT_KEPT_DAYS": "365", "PREDICTIONS_KEPT_MONTHS": "24", "DEAD_LETTERS_KEPT_DAYS": "365",
        "UPLOADS_PER_USER": "0", "UPLOAD_GB_PER_USER": "1", "UPLOAD_GB_IN_ALL": "10",
        "SHADOW_SCORES_KEPT_DAYS": "30", "SCORING_KEPT_DAYS": "30", "JOBS_KEPT_DAYS": "0",
        "GIT_COMMIT": "064ff77", "HEARTBEAT_PATH": str(tmp_path / "heartbeat"),
        "TRUSTED_PROXIES": "10.0.0.7, 172.16.0.0/12,::1", "TLS_CERTIFICATE": "/certificate.pem", "TLS_KEY": "/key.pem",
    }  # fmt: skip
    assert _names_in_the_example() <= environment.keys()
    code = "import django; django.setup(); from django.core.management import call_command; call_command('check')"

    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**environment, "DJANGO_SETTINGS_MODULE": "titanic_site.settings"},
        check=True,
    )  # fmt: skip


def _production() -> dict[str, str]:
    """The settings that docs/install.md gives for production."""
    (block,) = re.findall(r"```ini\n(.+?)```", (ROOT / "docs/install.md").read_text(), re.DOTALL)
    values = dict(line.split("=", 1) for line in block.splitlines())
    return {
        **values, "PATH": "/usr/bin:/bin", "SECRET_KEY": "".join(map(chr, range(60, 120))),
        "TRUSTED_PROXIES": "0.0.0.0/0",
        "DATABASE_URL": "postgres://titanic:secret@postgres/titanic", "REDIS_URL": "redis://redis:6379/0",
        "DJANGO_SETTINGS_MODULE": "titanic_site.settings",
    }  # fmt: skip


def test_djangos_check_of_a_deployment_has_nothing_to_say_of_the_documented_settings(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]

    checked = subprocess.run(
        command,
        cwd=ROOT,
        env={**_production(), "TITANIC_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr


#: Asks the application of wsgi.py as Granian does, and prints of each request what was answered.
_ASK = """
import json, sys
from wsgiref.util import setup_testing_defaults
from titanic_site.wsgi import application

answers = []
for environ in json.load(sys.stdin):
    setup_testing_defaults(environ)
    def start(status, headers):
        answers.append([int(status[:3]), {name: value for name, value in headers}])
    for _ in application(environ, start):
        pass
print("ANSWERS", json.dumps(answers))
"""


def test_behind_tls_all_is_https_and_a_stranger_cannot_say_so(tmp_path: Path) -> None:
    environment = {**_production(), "TITANIC_HOME": str(tmp_path), "TRUSTED_PROXIES": "10.0.0.7"}
    site = {"HTTP_HOST": environment["ALLOWED_HOSTS"], "PATH_INFO": "/accounts/login/", "REMOTE_ADDR": "10.0.0.7"}
    said = {"HTTP_X_FORWARDED_FOR": "192.0.2.1", "HTTP_X_FORWARDED_PROTO": "https"}
    requests = [
        {**site, **said},
        {**site, **said, "HTTP_X_FORWARDED_PROTO": "http"},
        {**site, **said, "REMOTE_ADDR": "192.0.2.1"},
        {**site, "PATH_INFO": "/healthz", "HTTP_HOST": "10.1.2.3:8000"},
    ]

    ended = subprocess.run(
        [sys.executable, "-c", _ASK], cwd=ROOT, env=environment, input=json.dumps(requests), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("ANSWERS "))
    secure, plain, stranger, probe = json.loads(line.removeprefix("ANSWERS "))

    assert secure[0] == 200
    assert secure[1]["Strict-Transport-Security"] == "max-age=3600"
    assert "Secure" in secure[1]["Set-Cookie"]
    for status, headers in (plain, stranger):
        assert (status, headers["Location"]) == (301, f"https://{site['HTTP_HOST']}/accounts/login/")
    assert probe[0] == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"), ("PORT", "99999"), ("METRICS_PORT", "-1"),
        ("WEB_WORKERS", "0"), ("DEBUG", "perhaps"), ("DRIFT_BACKEND", "magic"),
        ("LOG_FORMAT", "xml"), ("THROTTLE_PREDICT", "fast"), ("DATABASE_URL", "postgres://x"), ("REDIS_URL", "redis://x"),
        ("CSRF_TRUSTED_ORIGINS", "example.org"), ("ARTIFACT_BUCKET", "gs://ship"), ("EMAIL_URL", "nonsense://"),
        ("EMAIL_URL", "smtp://host?timeout=soon"),
        ("ALERT_WEBHOOK_URL", "example.org/hook"), ("ALERT_WEBHOOK_URL", "http://[::1"),
        ("ALERT_EMAILS", "ann@example.org,bob"), ("ALERT_LANGUAGE", "xx"), ("ALERT_TIME_ZONE", "Here"),
        ("SITE_URL", "example.org"),
        ("JOB_LEASE_SECONDS", "0"), ("TRUSTED_PROXIES", "proxy"), ("TRUSTED_PROXIES", "10.0.0.7/8"),
        ("SECRET_KEY", "a"), ("SECRET_KEY", "k" * 60), ("SECRET_KEY", "django-insecure-" + "abcdefgh" * 6),
        ("HTTPS", "true"), ("HTTPS", "on TLS"), ("SESSION_HOURS", "0"), ("SESSION_HOURS", "for ever"),
        ("LOG_KEPT_DAYS", "0"), ("THROTTLE_SIGN_IN", "often"),
        ("SECRET_KEY_FILE", "/nowhere"), ("PORT_FILE", "/"), ("ALERT_EMAILS_FILE", "/bin/true"),
        ("DATABASE_URL_FILE", "/dev/null"), ("PORT_FILE", "/dev/null"),
        ("PREDICTIONS_KEPT_MONTHS", "-1"), ("UPLOADS_PER_USER", "-1"), ("SCORING_KEPT_DAYS", "for ever"),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_the_start_with_one_sentence(name: str, value: str, tmp_path: Path) -> None:
    environment = {"TITANIC_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", name: value}
    code = "import titanic_site.settings"

    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_image_serves_as_the_embedded_installation_does() -> None:
    (line,) = re.findall(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    (web,) = (program for stage in up.programs() for program in stage if program.name == "web")

    command, ours = json.loads(line), list(web.command)
    assert command[-1] == "titanic_site.wsgi:application"
    for option in ("--interface", "--blocking-threads", "--http"):
        assert command[command.index(option) + 1] == ours[ours.index(option) + 1]


@pytest.mark.parametrize(
    ("host", "trusted_proxies", "lacks_proxy"),
    [("127.0.0.1", [], False), ("0.0.0.0", [], True), ("0.0.0.0", ["10.0.0.7/32"], False)],
)
def test_who_serves_others_without_a_proxy_is_told(
    settings: Any, host: str, trusted_proxies: list[str], lacks_proxy: bool
) -> None:
    settings.HOST, settings.TRUSTED_PROXIES = host, trusted_proxies

    assert up.lacks_proxy() is lacks_proxy
