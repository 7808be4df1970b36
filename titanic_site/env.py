"""The environment, read once and checked: a wrong setting stops the start with a sentence on how to correct it."""

import re
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import dj_database_url
import dj_email_url
from environs import Env, EnvError, validate

from titanic_site.layout import Layout

BASE_DIR = Path(__file__).resolve().parent.parent
_ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
_LARGEST_PORT = 65535
# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", "write the name alone, without gs:// and folders."
_HTTP, _REDIS = ("http", "https"), ("redis", "rediss", "unix")
_RATE = r"0*[1-9][0-9]*/[smhd]", "write a number, a slash and s, m, h or d, such as 100/s."


class SettingError(ValueError):
    """A setting that cannot be used; the text names the setting and the remedy."""


@dataclass(frozen=True)
class Environment:
    """Every setting of the installation, typed."""

    home: Path
    is_embedded: bool
    database: dict[str, object]
    redis_url: str
    secret_key: str
    debug: bool
    host: str
    port: int
    web_workers: int
    allowed_hosts: list[str]
    csrf_trusted_origins: list[str]
    trusted_proxies: list[str]
    login_required: bool
    api_allow_anonymous: bool
    throttle_predict: str | None
    throttle_anon: str | None
    source_uri: str
    artifact_bucket: str
    dask_scheduler: str
    auto_promote: bool
    drift_backend: str
    alert_webhook_url: str
    email: dict[str, object]
    admin_password: str
    log_format: Literal["text", "json"]
    job_lease_seconds: int

    @property
    def broker_url(self) -> str:
        """The address of Redis in kombu's spelling."""
        if not self.redis_url.startswith("unix://"):
            return self.redis_url
        url = self.redis_url.replace("unix://", "redis+socket://", 1)
        return url.replace("?db=", "?virtual_host=").replace("&db=", "&virtual_host=")

    @property
    def lacks_proxy(self) -> bool:
        """Tell whether other machines reach the web server without a proxy that buffers slow clients' requests."""
        return self.host not in _LOOPBACK and not self.trusted_proxies


def read() -> Environment:
    """Read the environment, with `.env` for what it lacks, or exit with one sentence."""
    env = Env()
    env.read_env(str(BASE_DIR / ".env"), recurse=False)
    try:
        return _environment(env)
    except EnvError as error:
        sys.exit(f"Setting {str(error).removeprefix('Environment variable ')} See .env.example.")
    except SettingError as error:
        sys.exit(f"{error} See .env.example.")


def _environment(env: Env) -> Environment:
    home = BASE_DIR / Path(_text(env, "TITANIC_HOME", "var")).expanduser()
    database_url, redis_url = _text(env, "DATABASE_URL"), _text(env, "REDIS_URL")
    if bool(database_url) != bool(redis_url):
        missing, present = ("REDIS_URL", "DATABASE_URL") if database_url else ("DATABASE_URL", "REDIS_URL")
        raise SettingError(f"Setting {present} is set and {missing} is not: set both to use your servers, or neither.")
    is_embedded = not database_url
    services = Layout(home)
    host, webhook = _text(env, "HOST", "127.0.0.1"), _text(env, "ALERT_WEBHOOK_URL")
    email = dict(dj_email_url.parse(_text(env, "EMAIL_URL", "console:")))
    if not email.get("EMAIL_BACKEND"):
        raise SettingError("Setting EMAIL_URL cannot be read: write it as submission://user:password@host:587.")
    return Environment(
        home=home,
        is_embedded=is_embedded,
        database=_database(database_url or services.database_url),
        redis_url=_url("REDIS_URL", redis_url or services.redis_url, _REDIS, "redis://:password@host:6379/0"),
        secret_key=_secret_key(_text(env, "SECRET_KEY"), home, is_embedded=is_embedded),
        debug=_flag(env, "DEBUG", default=False),
        host=host,
        port=_number(env, "PORT", default=8000, most=_LARGEST_PORT),
        web_workers=_number(env, "WEB_WORKERS", default=2, most=64),
        allowed_hosts=_list(env, "ALLOWED_HOSTS") or sorted(_LOOPBACK | ({host} - _ANYWHERE)),
        csrf_trusted_origins=[
            _matching("CSRF_TRUSTED_ORIGINS", word, "https?:.*", "write it with its scheme, https://example.org.")
            for word in _list(env, "CSRF_TRUSTED_ORIGINS")
        ],
        trusted_proxies=[_network(word) for word in _list(env, "TRUSTED_PROXIES")],
        login_required=_flag(env, "LOGIN_REQUIRED", default=True),
        api_allow_anonymous=_flag(env, "API_ALLOW_ANONYMOUS", default=False),
        throttle_predict=_matching("THROTTLE_PREDICT", _text(env, "THROTTLE_PREDICT"), *_RATE) or None,
        throttle_anon=_matching("THROTTLE_ANON", _text(env, "THROTTLE_ANON"), *_RATE) or None,
        source_uri=_text(env, "SOURCE_URI", str(BASE_DIR / "ingestion/sample/sample.csv")),
        artifact_bucket=_matching("ARTIFACT_BUCKET", _text(env, "ARTIFACT_BUCKET"), *_BUCKET),
        dask_scheduler=_text(env, "DASK_SCHEDULER"),
        auto_promote=_flag(env, "AUTO_PROMOTE", default=True),
        drift_backend=_one_of(env, "DRIFT_BACKEND", ("alibi", "scipy")),
        alert_webhook_url=webhook and _url("ALERT_WEBHOOK_URL", webhook, _HTTP, "https://example.org/hook"),
        email=email,
        admin_password=_text(env, "ADMIN_PASSWORD"),
        log_format=_one_of(env, "LOG_FORMAT", ("text", "json")),  # type: ignore[arg-type]
        job_lease_seconds=_number(env, "JOB_LEASE_SECONDS", default=60, least=5, most=3600),
    )


def _text(env: Env, name: str, default: str = "") -> str:
    return (env.str(name, "") or "").strip() or default


def _flag(env: Env, name: str, *, default: bool) -> bool:
    return env.bool(name) if _text(env, name) else default


def _list(env: Env, name: str) -> list[str]:
    return [word.strip() for word in _text(env, name).split(",") if word.strip()]


def _number(env: Env, name: str, *, default: int, least: int = 1, most: int) -> int:
    if not _text(env, name):
        return default
    return int(env.int(name, validate=validate.Range(least, most)))


def _one_of(env: Env, name: str, options: tuple[str, ...]) -> str:
    """One of `options`; the first is the default."""
    return str(env.str(name, validate=validate.OneOf(options))) if _text(env, name) else options[0]


def _matching(name: str, text: str, pattern: str, hint: str) -> str:
    """Return the text; raises SettingError where it is neither empty nor of the pattern."""
    if text and not re.fullmatch(pattern, text):
        raise SettingError(f'Setting {name} has "{text}": {hint}')
    return text


def _url(name: str, url: str, schemes: tuple[str, ...], example: str) -> str:
    """Return the URL; raises SettingError where it cannot be used. It may hold a secret: it is not repeated."""
    try:
        parts = urlsplit(url)
        # The address of a Unix socket is a path.
        is_usable = parts.scheme in schemes and bool(parts.hostname or ("unix" in schemes and parts.path))
        is_usable &= parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingError(f"Setting {name} cannot be read: write it as {example}.")
    return url


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        hint = "write addresses or networks with commas, such as 10.0.0.7,172.16.0.0/12."
        raise SettingError(f'Setting TRUSTED_PROXIES has "{text}": {hint}') from error


def _database(url: str) -> dict[str, object]:
    hint = "write it as postgres://user:password@host:5432/name, special characters percent-encoded."
    try:
        config = dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)
    except ValueError as error:
        raise SettingError(f"Setting DATABASE_URL cannot be read: {hint}") from error
    if config["ENGINE"] != "django.db.backends.postgresql" or not config["NAME"]:
        raise SettingError(f"Setting DATABASE_URL does not name a PostgreSQL database: {hint}")
    # A server that vanishes is noticed in twenty seconds, not in the kernel's quarter of an hour.
    timeouts = {
        "connect_timeout": 5, "tcp_user_timeout": 20_000,
        "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    }  # fmt: skip
    config["OPTIONS"] = timeouts | config.get("OPTIONS", {})
    # Django's own backend, with queries and connections counted for /metrics.
    config["ENGINE"] = "django_prometheus.db.backends.postgresql"
    return dict(config)


def _secret_key(configured: str, home: Path, *, is_embedded: bool) -> str:
    """Return the configured key; with embedded services, else one that is made once and kept."""
    if configured:
        return configured
    if not is_embedded:
        raise SettingError("Setting SECRET_KEY is missing: set it to fifty random characters and keep it.")
    path = home / "secret_key"
    if not path.exists():
        try:
            home.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(50))
            # Whole or not at all; of two at once, the first stays.
            with suppress(FileExistsError):
                path.hardlink_to(draft)
            draft.unlink()
        except OSError as error:
            raise SettingError(f"Setting TITANIC_HOME: cannot write {home} ({error.strerror}).") from error
    return path.read_text().strip()
