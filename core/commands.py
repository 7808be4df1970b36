"""What the commands have in common: progress, one sentence as the result, and an exit code."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError
from django.utils.translation import gettext as _
from psycopg2.errors import UndefinedColumn, UndefinedTable
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from core.errors import TitanicError
from core.jobs import Cancelled, Job, NotClaimed
from core.redis import RedisUnavailable


@contextmanager
def progress_bar(job: Job, *, is_shown: bool) -> Iterator[None]:
    """Show share, rows, rate and time left while the body works on the job."""
    columns = (TextColumn(str(job)), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown) as bar:
        task = bar.add_task("", total=1.0, rows="")

        def show(done: float, count: int | None) -> None:
            rate = (count or 0) / max(bar.tasks[0].elapsed or 0, 0.001)
            rows = _("%(rows)s rows, %(rate)s a second") % {"rows": f"{count or 0:,}", "rate": f"{rate:,.0f}"}
            bar.update(task, completed=done, rows=rows if count else "")

        job.on_report = show
        yield


class StepCommand(BaseCommand, ABC):
    """One step of the pipeline, alone and without a broker."""

    @abstractmethod
    def step(self, **options: Any) -> str:
        """Run the step and return a sentence about the result."""

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            return self.step(**options)
        except TitanicError as error:
            raise CommandError(str(error.message)) from error
        except ProgrammingError as error:
            if isinstance(error.__cause__, (UndefinedTable, UndefinedColumn)):
                raise CommandError(
                    _("The database is not migrated yet: run manage.py migrate, or make run.")
                ) from error
            raise
        except (Cancelled, NotClaimed, KeyboardInterrupt) as error:
            raise CommandError(_("The run was cancelled.")) from error
        except (OperationalError, *RedisUnavailable) as error:
            raise CommandError(_("A service is unavailable: %(error)s") % {"error": str(error).strip()}) from error
