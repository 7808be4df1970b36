"""Where log lines go: the terminal and one file a day, with level, logger, request id and process in each."""

import logging
import os
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django_guid.log_filters import CorrelationId

_TEXT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(process)d %(message)s"
_JSON = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "format": "%(asctime)s %(levelname)s %(name)s %(request_id)s %(process)d %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
}
#: Libraries that tell of every tick, task or header; their warnings are kept.
_TALKATIVE = (
    "celery.app.trace", "celery.beat", "celery.worker.request", "celery.worker.strategy", "django_celery_beat",
    "django_guid", "alibi_detect", "httpcore", "httpx", "matplotlib", "numba", "skl2onnx",
)  # fmt: skip


def configuration(log_dir: Path, *, log_format: str) -> dict[str, Any]:
    """The logging settings; `log_format` is text or json."""
    handler = {"formatter": log_format, "filters": ["request_id", "short"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": f"{__name__}.RequestId"}, "short": {"()": f"{__name__}.Short"}},
        "formatters": {"text": {"()": f"{__name__}.UtcFormatter", "format": _TEXT}, "json": _JSON},
        "handlers": {
            "console": {"class": "logging.StreamHandler", **handler},
            "file": {"()": f"{__name__}.DailyFile", "directory": str(log_dir), **handler},
        },
        "root": {"handlers": ["console", "file"], "level": "INFO"},
        "loggers": {
            # Django's own handlers would print a second time, or only while debugging.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            **{name: {"level": "WARNING"} for name in _TALKATIVE},
        },
    }


class RequestId(CorrelationId):
    """The id of the request a line belongs to, empty outside of one."""

    def __init__(self) -> None:
        super().__init__(correlation_id_field="request_id")

    def filter(self, record: logging.LogRecord) -> bool:
        super().filter(record)
        record.request_id = getattr(record, "request_id", None) or ""
        return True


class Short(logging.Filter):
    """Takes the traceback from what Django refuses as hostile: whoever sends it could fill the disk."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = None
        return True


class UtcFormatter(logging.Formatter):
    """Times as the rest of the system has them; whatever a client named, an entry is one line, a traceback indented."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(f"  {_escaped(line)}" for line in super().formatException(ei).split("\n"))


def _escaped(text: str) -> str:
    """The text with line ends, terminal sequences and marks of direction as Python writes them."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class DailyFile(logging.Handler):
    """`log_YYYY-MM-DD.log`, by the UTC day; several processes append to it at once."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = Path(directory)
        self._day: date | None = None
        self._file: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
            # One write call at the end of the file: lines of different processes never mix.
            os.write(self._file_of(datetime.fromtimestamp(record.created, UTC).date()), line.encode(errors="replace"))
        except Exception:  # noqa: BLE001 - the contract of logging: a log line never ends the work it tells of.
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            self._close_file()
        finally:
            self.release()
        super().close()

    def _file_of(self, day: date) -> int:
        if self._file is None or day != self._day:
            self._close_file()
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / f"log_{day.isoformat()}.log"
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._day = day
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
