"""python manage.py ingest URI"""

import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand, progress_bar
from ingestion import services
from ingestion.reading_commands import add_reading_arguments, reading_options, told_reading


class Command(StepCommand):
    help = "Load a table from a file, a bucket, an https address or a database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("uri", help="a path, gs://bucket/object, https://… or postgresql://…/database#table")
        parser.add_argument("--no-label", action="store_true", help="the table has no label")
        add_reading_arguments(parser)

    def step(self, **options: Any) -> str:
        dataset = services.queue_ingest(
            uri=options["uri"],
            by_command=True,
            has_label=not options["no_label"],
            **reading_options(options),
        )
        with progress_bar(dataset, is_shown=sys.stderr.isatty()), told_reading(dataset, self.stderr):
            services.ingest(dataset)
        counts = {"dataset": dataset, "rows": dataset.row_count, "problems": dataset.problem_count}
        return _("%(dataset)s: %(rows)s rows loaded, %(problems)s rejected.") % counts
