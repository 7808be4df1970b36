"""Read docker-compose.yml as Docker Compose does, as far as this product's file goes."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml
from dotenv import dotenv_values

ROOT = Path(__file__).parents[1]
#: $$, $NAME and ${NAME}, also with an operator and a word, which may have variables of its own.
_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?+])((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*))?\})")


class MissingSettingError(ValueError):
    """A variable that the file needs is not set; the text is what the file says then."""


class HealthCheck(msgspec.Struct, frozen=True):
    """A command whose exit code tells whether a container works."""

    test: list[str]
    timeout: str = "30s"

    @property
    def command(self) -> list[str]:
        """The command as a process has it."""
        kind, *words = self.test
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else words


class Volume(msgspec.Struct, frozen=True):
    """What stands at a path of the container; the source is a path of the host, a shared volume's name, or empty."""

    target: str
    source: str = ""


class Dependency(msgspec.Struct, frozen=True):
    """What another service must have reached before this one starts."""

    condition: str


class EnvFile(msgspec.Struct, frozen=True):
    """A file of settings."""

    path: str


class Build(msgspec.Struct, frozen=True):
    """How the image is made."""

    args: dict[str, str] = {}


class _Limits(msgspec.Struct, frozen=True):
    memory: str


class _Resources(msgspec.Struct, frozen=True):
    limits: _Limits


class _Deploy(msgspec.Struct, frozen=True):
    resources: _Resources
    replicas: int = 1


class Service(msgspec.Struct, frozen=True):
    """One container as the file describes it."""

    image: str
    deploy: _Deploy
    build: Build = Build()
    healthcheck: HealthCheck | None = None
    command: list[str] = []
    environment: dict[str, str | None] = {}
    env_file: list[EnvFile] = []
    volumes: list[Volume | str] = []
    depends_on: dict[str, Dependency] = {}
    networks: set[str] = set()
    profiles: set[str] = set()
    stop_grace_period: str = "10s"
    restart: str = "no"
    read_only: bool = False
    cap_drop: list[str] = []
    cap_add: list[str] = []
    security_opt: list[str] = []

    @property
    def is_ours(self) -> bool:
        """Whether it runs the product's own image."""
        return self.image.startswith("titanic-mlops:")

    @property
    def mounts(self) -> list[Volume]:
        """Every volume, also those in the short form."""
        return [volume if isinstance(volume, Volume) else _volume(volume) for volume in self.volumes]

    @property
    def stop_seconds(self) -> float:
        """How long it has to stop."""
        return seconds(self.stop_grace_period)

    @property
    def memory_bytes(self) -> int:
        """What it may take."""
        memory = self.deploy.resources.limits.memory
        return int(memory[:-1]) * {"M": 2**20, "G": 2**30}[memory[-1]]


def _volume(text: str) -> Volume:
    source, _, target = text.removesuffix(":ro").rpartition(":")
    return Volume(target, source)


def seconds(duration: str) -> float:
    """Return the seconds of a duration.

    >>> seconds("1m30s")
    90.0
    """
    return float(sum(int(number) * {"s": 1, "m": 60}[unit] for number, unit in re.findall(r"(\d+)([sm])", duration)))


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace the variables of a value; a `?` whose variable is missing raises MissingSettingError.

    >>> interpolate("${A:-${B:?set A or B}}:$$C${D:+d}", {"A": "1"})
    '1:$C'
    """

    def value(match: re.Match[str]) -> str:
        is_escaped, short, name, operator, word = match.groups(default="")
        if is_escaped:
            return "$"
        found = variables.get(short or name)
        is_given = bool(found) if operator.startswith(":") else found is not None
        if operator.endswith("+"):
            return interpolate(word, variables) if is_given else ""
        if not is_given and operator.endswith("?"):
            raise MissingSettingError(f"{name}: {word}")
        return found or "" if is_given or not operator else interpolate(word, variables)

    return _VARIABLE.sub(value, text)


def read(env_file: Path, *others: Path) -> dict[str, Service]:
    """Return every service with its whole environment.

    The first file stands for `.env`; the others are those that `--env-file` names beside it.
    """
    settings, *more = (dotenv_values(path, interpolate=False) for path in (env_file, *others))
    known = {name: value or "" for values in (settings, *more) for name, value in values.items()}

    def resolved(node: object) -> object:
        if isinstance(node, dict):
            return {key: resolved(item) for key, item in node.items()}
        if isinstance(node, list):
            return [resolved(item) for item in node]
        return interpolate(node, known) if isinstance(node, str) else node

    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = msgspec.convert(resolved(document["services"]), dict[str, Service])
    for service in services.values():
        stated = {name: known.get(name) if value is None else value for name, value in service.environment.items()}
        given = {name: value or "" for name, value in settings.items()} if service.env_file else {}
        service.environment.clear()
        service.environment.update(given | {name: value for name, value in stated.items() if value is not None})
    return services
