"""python manage.py ingest URI"""

import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand, progress_bar
from ingestion import services
from ingestion.models import IngestOptions


class Command(StepCommand):
    help = "Load a table from a file, a bucket, an https address or a database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("uri", help="a path, gs://bucket/object, https://… or postgresql://…/database#table")
        parser.add_argument("--no-label", action="store_true", help="the table has no label")
        parser.add_argument(
            "--heading",
            action="append",
            default=[],
            metavar="COLUMN=HEADING",
            help="another heading of a column",
        )
        parser.add_argument(
            "--largest-problem-share",
            type=float,
            default=IngestOptions._meta.get_field("largest_problem_share").default,
            help="above this share of rejected rows (0 to 1) the whole table is rejected",
        )

    def step(self, **options: Any) -> str:
        dataset = services.queue_ingest(
            uri=options["uri"],
            by_command=True,
            has_label=not options["no_label"],
            headings=dict(pair.partition("=")[::2] for pair in options["heading"]),
            largest_problem_share=options["largest_problem_share"],
        )
        with progress_bar(dataset, is_shown=sys.stderr.isatty()):
            services.ingest(dataset)
        counts = {"dataset": dataset, "rows": dataset.row_count, "problems": dataset.problem_count}
        return _("%(dataset)s: %(rows)s rows loaded, %(problems)s rejected.") % counts
