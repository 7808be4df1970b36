"""python manage.py train [--batch N] [--algorithm NAME] [--seed N] [--candidates N]"""

import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand, progress_bar
from core.errors import TitanicError
from features.models import FeatureBatch
from training import services
from training.models import Algorithm, ModelVersion, default_candidates


class Command(StepCommand):
    help = "Train a model from a feature batch; the gate decides whether it is promoted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch", type=int, help="number of the feature batch; the current one when left out")
        parser.add_argument("--algorithm", default=Algorithm.RANDOM_FOREST, choices=Algorithm.values)
        parser.add_argument("--seed", type=int, default=42)
        parser.add_argument(
            "--candidates", type=int, default=default_candidates(), help="sets of hyper-parameters to try; 0 tries none"
        )

    def step(self, **options: Any) -> str:
        batches = FeatureBatch.objects.succeeded()
        batch = (batches.filter(pk=options["batch"]) if options["batch"] else batches.current()).first()
        if batch is None:
            raise TitanicError(_("There is no such feature batch: build one first."))
        run = services.queue_run(
            batch=batch, algorithm=options["algorithm"], seed=options["seed"], candidates=options["candidates"]
        )
        with progress_bar(run, is_shown=sys.stderr.isatty()):
            services.train(run)
        version = ModelVersion.objects.get(run=run)
        figures = version.evaluation.cross_validation
        message = _("%(version)s (%(stage)s): accuracy %(accuracy).3f, ROC AUC %(auc).3f, Brier score %(brier).3f.")
        return message % {
            "version": version,
            "stage": version.get_stage_display(),
            "accuracy": figures.accuracy.value,
            "auc": figures.roc_auc.value,
            "brier": figures.brier.value,
        }
