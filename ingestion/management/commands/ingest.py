"""python manage.py ingest URI"""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ingestion import services
from titanic_site.lib.commands import StepCommand


class Command(StepCommand):
    help = "Load a passenger table from a file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("uri", help="path of a CSV file")

    def step(self, **options: Any) -> str:
        dataset = services.queue_ingest(uri=options["uri"], is_operator=True)
        services.ingest(dataset)
        counts = {"dataset": dataset, "rows": dataset.row_count, "problems": dataset.problem_count}
        return _("%(dataset)s: %(rows)s passengers loaded, %(problems)s rows refused.") % counts
