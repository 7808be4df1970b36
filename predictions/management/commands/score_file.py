"""python manage.py score_file IN OUT [--explain]"""

from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand
from core.errors import TitanicError
from core.file_names import label
from ingestion.models import ReadingOptions
from ingestion.reading_commands import add_reading_arguments, reading_options, told_reading
from ingestion.services import validate_options
from predictions import scoring
from predictions.models import ScoringJob


class Command(StepCommand):
    help = "Score a table: the input plus the prediction's id, answer, probability and model version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("input", type=Path)
        parser.add_argument("output", type=Path)
        add_reading_arguments(parser)
        parser.add_argument("--explain", action="store_true", help="with each field's contribution to each answer")

    def step(self, **options: Any) -> str:
        try:
            with options["input"].open("rb") as file:
                # An output that cannot be written fails before the work, not after it.
                options["output"].open("ab").close()
                job = ScoringJob(
                    upload=File(file, options["input"].name),
                    name=label(options["input"].name),
                    is_explained=options["explain"],
                    **reading_options(options),
                )
                validate_options(job, ReadingOptions)
                with job.storing():
                    job.queue_new()
            with told_reading(job, self.stderr):
                scoring.score(job)
            with options["output"].open("wb") as out:
                out.writelines(scoring.results(job))
        except OSError as error:
            raise TitanicError(f"{error.filename}: {error.strerror}.") from error
        message = _("%(job)s: %(rows)s rows scored into %(path)s, %(problems)s of them rejected.")
        counts = {"job": job, "rows": job.row_count, "problems": job.problem_count, "path": options["output"]}
        return message % counts
