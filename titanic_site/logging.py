"""Logging: to the terminal and one file a day, with level, logger, the ids of request, task and job, and process.

Files are kept for LOG_KEPT_DAYS.
"""

import logging
import os
import re
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from celery import current_task
from django_guid import get_guid
from pythonjsonlogger.json import JsonFormatter

from core.log_context import job_id

_TEXT = "%(asctime)s %(levelname)s %(name)s [%(ids)s] %(process)d %(message)s"
_JSON = {
    "()": f"{__name__}.UtcJsonFormatter",
    "format": "%(asctime)s %(levelname)s %(name)s %(request_id)s %(task_id)s %(job_id)s %(process)d %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
}
_PASSWORD_TOKEN = re.compile(r"(?<=/accounts/reset/)([^/\s]+/)[^/\s]+")
#: Libraries that log every tick, task or header: only their warnings are logged.
_NOISY = (
    "celery.app.trace", "celery.beat", "celery.worker.request", "celery.worker.strategy", "django_celery_beat",
    "django_guid", "alibi_detect", "httpcore", "httpx", "matplotlib", "numba", "skl2onnx",
)  # fmt: skip


def configuration(
    log_dir: Path, *, log_format: str, kept_days: int, is_access_printed: bool = True
) -> dict[str, object]:
    """Return the logging settings; `log_format` is text or json.

    The access log is in the files, and printed too where no person watches.
    """
    handler = {"formatter": log_format, "filters": ["ids", "no_secrets", "no_traceback"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "ids": {"()": f"{__name__}.Ids"},
            "no_secrets": {"()": f"{__name__}.OmitSecrets"},
            "no_traceback": {"()": f"{__name__}.OmitTraceback"},
        },
        "formatters": {"text": {"()": f"{__name__}.UtcFormatter", "format": _TEXT}, "json": _JSON},
        "handlers": {
            "console": {"class": "logging.StreamHandler", **handler},
            "file": {"()": f"{__name__}.DailyFile", "directory": str(log_dir), "kept_days": kept_days, **handler},
        },
        "root": {"handlers": ["console", "file"], "level": "INFO"},
        "loggers": {
            # Django's own handlers would print a second time, or only while debugging.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "titanic_site.access_log": {
                "handlers": ["console", "file"] if is_access_printed else ["file"],
                "propagate": False,
            },
            **{name: {"level": "WARNING"} for name in _NOISY},
        },
    }


class Ids(logging.Filter):
    """The ids of the request, the task and the job that a line belongs to, each empty outside of one."""

    def filter(self, record: logging.LogRecord) -> bool:
        task_id = current_task.request.id if current_task else None
        ids = {"request_id": get_guid() or "", "task_id": task_id or "", "job_id": job_id.get()}
        # A job's message has the job's id.
        vars(record).update(ids, ids=" ".join(filter(None, dict.fromkeys(ids.values()))))
        return True


def without_token(text: str) -> str:
    """Take the part out of the address of a password link by which whoever knows it sets a user's password.

    >>> without_token("Not Found: /accounts/reset/MQ/c9zz-0123456789/")
    'Not Found: /accounts/reset/MQ/…/'
    """
    return _PASSWORD_TOKEN.sub(r"\1…", text)


class OmitSecrets(logging.Filter):
    """Omits what Django's own lines tell of a request beyond its id: tokens of password links, and the query."""

    def filter(self, record: logging.LogRecord) -> bool:
        # A formatter of JSON would write it out.
        vars(record).pop("request", None)
        message = record.getMessage()
        if (masked := without_token(message)) != message:
            record.msg, record.args = masked, None
        return True


class OmitTraceback(logging.Filter):
    """Omits tracebacks that say nothing more than their line and could fill the disk.

    Those of requests that Django rejects, and of the scheduler's each second without PostgreSQL.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        is_rejection = record.name == "django.request" and record.levelno < logging.ERROR
        if is_rejection or record.name.startswith(("django.security.", "django_celery_beat.")):
            record.exc_info = None
        return True


class UtcTimes(logging.Formatter):
    """Times in UTC, with their zone."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


class UtcJsonFormatter(UtcTimes, JsonFormatter):
    """One JSON object for each entry."""


class UtcFormatter(UtcTimes):
    """Each entry is one line whatever it contains, a traceback is indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return _escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        return "\n".join(f"  {_escaped(line)}" for line in super().formatException(ei).split("\n"))


def _escaped(text: str) -> str:
    """Escape line ends, terminal sequences and marks of direction as Python does."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class DailyFile(logging.Handler):
    """`log_YYYY-MM-DD.log`, by the UTC day; several processes append to it at once, and each deletes old ones."""

    def __init__(self, directory: str, kept_days: int) -> None:
        super().__init__()
        self._directory = Path(directory)
        self._kept_days = kept_days
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
            self._delete_before(day - timedelta(days=self._kept_days))
        return self._file

    def _delete_before(self, day: date) -> None:
        for path in self._directory.glob("log_????-??-??.log"):
            # Of the same length, names sort as their days do.
            if path.name < f"log_{day.isoformat()}.log":
                with suppress(OSError):
                    path.unlink()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
