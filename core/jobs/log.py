"""The log of a job: what its process logs while the job runs is kept for the job's page."""

import logging
import threading

from django.db import DatabaseError, InterfaceError

from core.models import JobLogLine

logger = logging.getLogger(__name__)

#: Of a job that logs more, the rest stands in the log files only.
MOST_LINES = 5_000
_LONGEST_TEXT = 4_000


class JobLog(logging.Handler):
    """Collects the process' lines for a job; the lease stores them every second, and at the end."""

    def __init__(self, task_id: str) -> None:
        super().__init__(logging.INFO)
        self._task_id = task_id
        self._lines: list[JobLogLine] = []
        self._count = 0
        self._storing = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._count += 1
            if self._count > MOST_LINES:
                return
            text = self.format(record) if self._count < MOST_LINES else "The rest stands in the log files."
            self._lines.append(
                JobLogLine(
                    task_id=self._task_id,
                    level=min(record.levelno, logging.CRITICAL),
                    # PostgreSQL takes no NUL.
                    text=text.replace("\0", "\\x00")[:_LONGEST_TEXT],
                    is_stage=getattr(record, "is_stage", False),
                )
            )
        except Exception:  # noqa: BLE001 - the contract of logging: a log line never ends the work it tells of.
            self.handleError(record)

    def store(self) -> None:
        """Write the lines since the last call; while PostgreSQL is unavailable they stand in the log files only."""
        with self._storing:
            lines, self._lines = self._lines, []
            try:
                if lines:
                    JobLogLine.objects.bulk_create(lines)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("log lines of %s not stored: %s", self._task_id, error)
