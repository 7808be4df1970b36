"""python manage.py build_features [--dataset N]"""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand
from core.errors import TitanicError
from features import services
from ingestion.models import Dataset


class Command(StepCommand):
    help = "Build the features of a dataset."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dataset", type=int, help="number of the dataset; the newest when left out")

    def step(self, **options: Any) -> str:
        datasets = Dataset.objects.succeeded()
        dataset = (datasets.filter(pk=options["dataset"]) if options["dataset"] else datasets).first()
        if dataset is None:
            raise TitanicError(_("There is no such dataset: ingest one first."))
        batch = services.queue_build(dataset=dataset)
        services.build(batch)
        message = _("%(batch)s: %(rows)s rows, checksum %(checksum)s.")
        return message % {"batch": batch, "rows": batch.row_count, "checksum": batch.checksum[:12]}
