"""Read the environment and check it: a wrong setting stops the start with a sentence on how to correct it."""

import os
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import dj_database_url
import dj_email_url
from environs import EnvError, FileAwareEnv, validate

BASE_DIR = Path(__file__).resolve().parent.parent
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared with what HOST says
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
#: What Django's own check of a deployment requires of SECRET_KEY.
_KEY_LENGTH, _KEY_LETTERS = 50, 5

T = TypeVar("T")

#: The settings that were made, as they were written.
given: dict[str, str] = {}

#: The environment without `.env`.
inherited = dict(os.environ)
# Secrets come as files: each setting NAME may be the content of the file that NAME_FILE names, which goes before NAME.
_env = FileAwareEnv(strip_whitespace=True)
# It has what the environment lacks.
_env.read_env(str(BASE_DIR / ".env"), recurse=False)


def refuse(reason: str) -> NoReturn:
    """Stop the start; the reason begins with the setting's name and ends with the remedy."""
    sys.exit(f"Setting {reason} See .env.example.")


def text(name: str, default: str = "") -> str:
    """Read a setting; a blank one is the default."""
    try:
        value = (_env.str(name, "") or "").strip()
    except (ValueError, OSError):
        refuse(f"{name}_FILE names no file that can be read: give its path, and let the product's user read it.")
    if not value and _env.str(f"{name}_FILE", ""):
        refuse(f"{name}_FILE names an empty file: write the value into it, or leave {name}_FILE out.")
    if value:
        given[name] = value
    return value or default


def words(name: str) -> list[str]:
    """Read words with commas between them."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def flag(name: str, *, default: bool) -> bool:
    """Read true or false."""
    return _parse(_env.bool, name, default)


def number(name: str, *, default: int, least: int = 1, most: int) -> int:
    """Read a whole number."""
    return _parse(_env.int, name, default, validate=validate.Range(least, most))


def one_of(name: str, *options: str) -> str:
    """Read one of the options; the first is the default."""
    return _parse(_env.str, name, options[0], validate=validate.OneOf(options))


def _parse(parse: Callable[..., T], name: str, default: T, **options: object) -> T:
    try:
        return parse(name, **options) if text(name) else default
    except EnvError as error:
        refuse(str(error).removeprefix("Environment variable "))


def matching(name: str, pattern: str, *, hint: str) -> str:
    """Read a text of the pattern, or none."""
    value = text(name)
    if value and not re.fullmatch(pattern, value):
        refuse(f'{name} is "{value}": {hint}')
    return value


def rate(name: str, *, default: str) -> str | None:
    """Read a number of requests in a unit of time; None is no limit."""
    hint = "write a number, a slash and s, m, h or d, such as 100/s, or off."
    value = matching(name, r"0*[1-9][0-9]*/[smhd]|off", hint=hint) or default
    return None if value == "off" else value


def origins(name: str) -> list[str]:
    """Read origins with their schemes."""
    for word in words(name):
        if urlsplit(word).scheme not in ("http", "https"):
            refuse(f'{name} has "{word}": write it with its scheme, https://example.org.')
    return words(name)


def addresses(name: str) -> list[str]:
    """Read mail addresses with commas between them."""
    for word in words(name):
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", word):
            refuse(f'{name} has "{word}": write mail addresses with commas, such as ann@example.org,bob@example.org.')
    return words(name)


def time_zone(name: str) -> str:
    """Read the name of a time zone; none is UTC."""
    zone = text(name, "UTC")
    if zone not in available_timezones():
        refuse(f'{name} is "{zone}": write the name of a time zone, such as Europe/Madrid.')
    return zone


def networks(name: str) -> list[str]:
    """Read addresses and networks."""
    try:
        return [str(ip_network(word)) for word in words(name)]
    except ValueError as error:
        refuse(f"{name} has a wrong one ({error}): write them with commas, such as 10.0.0.7,172.16.0.0/12.")


def is_embedded() -> bool:
    """Tell whether the installation runs its own PostgreSQL and Redis."""
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not text(name)]
    if len(missing) == 1:
        refuse(f"{missing[0]} is not set: set both DATABASE_URL and REDIS_URL to use your servers, or neither.")
    return bool(missing)


def url(name: str, default: str = "", *, schemes: tuple[str, ...], example: str) -> str:
    """Read a URL with one of the schemes, or none. It may hold a secret: it is not repeated."""
    value = text(name, default)
    try:
        parts = urlsplit(value)
        # The address of a Unix socket is a path.
        is_usable = parts.scheme in schemes and bool(parts.hostname or ("unix" in schemes and parts.path))
        is_usable &= parts.port != 0
    except ValueError:
        is_usable = False
    if value and not is_usable:
        refuse(f"{name} cannot be read: write it as {example}.")
    return value


def broker_url(redis_url: str) -> str:
    """Return the address of Redis in kombu's spelling."""
    if not redis_url.startswith("unix://"):
        return redis_url
    broker = redis_url.replace("unix://", "redis+socket://", 1)
    return broker.replace("?db=", "?virtual_host=").replace("&db=", "&virtual_host=")


def database(url: str, *, password: str) -> dict[str, object]:
    """Return the connection to PostgreSQL as Django has it; the password is for a URL that has none."""
    hint = "write it as postgres://user:password@host:5432/name, special characters percent-encoded."
    try:
        config = dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True)
    except ValueError:
        refuse(f"DATABASE_URL cannot be read: {hint}")
    if config["ENGINE"] != "django.db.backends.postgresql" or not config["NAME"]:
        refuse(f"DATABASE_URL does not name a PostgreSQL database: {hint}")
    config["PASSWORD"] = config["PASSWORD"] or password
    # A server that vanishes is noticed in twenty seconds, not in the kernel's quarter of an hour.
    timeouts = {
        "connect_timeout": 5, "tcp_user_timeout": 20_000,
        "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    }  # fmt: skip
    config["OPTIONS"] = timeouts | config.get("OPTIONS", {})
    # Django's own backend, with queries and connections counted for /metrics.
    config["ENGINE"] = "django_prometheus.db.backends.postgresql"
    return dict(config)


def email(url: str) -> dict[str, object]:
    """Return Django's settings of the mail server.

    >>> [email(f"smtp://host{query}")["EMAIL_TIMEOUT"] for query in ("", "?timeout=20")]
    [5, 20]
    """
    try:
        config = dict(dj_email_url.parse(url))
    except ValueError:
        config = {}
    if not config.get("EMAIL_BACKEND"):
        refuse("EMAIL_URL cannot be read: write it as submission://user:password@host:587.")
    # Mail is sent within a request, which a server that is silent holds up no longer.
    config["EMAIL_TIMEOUT"] = config["EMAIL_TIMEOUT"] or 5
    return config


def secret_key(home: Path, *, is_embedded: bool, is_debugging: bool) -> str:
    """Read the key; with embedded services, else one is made once and kept."""
    if configured := text("SECRET_KEY"):
        is_strong = len(configured) >= _KEY_LENGTH and len(set(configured)) >= _KEY_LETTERS
        if not is_debugging and (not is_strong or configured.startswith("django-insecure-")):
            refuse("SECRET_KEY is weak: set it to fifty random characters, and keep it.")
        return configured
    if not is_embedded:
        refuse("SECRET_KEY is missing: set it to fifty random characters and keep it.")
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
            refuse(f"TITANIC_HOME: cannot write {home} ({error.strerror}).")
    return path.read_text().strip()
