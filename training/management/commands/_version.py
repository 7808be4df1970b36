"""The bases of the commands about one version."""

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandParser
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from core.commands import StepCommand
from core.errors import TitanicError
from training.models import ModelVersion


class VersionCommand(StepCommand):
    """A step for one version, by its number."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", type=int)

    def step(self, **options: Any) -> str:
        number = options.pop("version")
        version = ModelVersion.objects.with_history().filter(version=number).first()
        if version is None:
            raise TitanicError(_("There is no model %(version)s.") % {"version": number})
        return self.step_for(version, **options)

    def step_for(self, version: ModelVersion, **options: Any) -> str:
        """Run the step and return its sentence."""
        raise NotImplementedError


class StageCommand(VersionCommand):
    """A change of the version's stage, by a function of the registry, and the sentence that reports it."""

    change: Callable[..., None]
    message: Promise

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why, for the audit")

    def step_for(self, version: ModelVersion, **options: Any) -> str:
        self.change(version, by=None, reason=options["reason"])
        return str(self.message) % {"version": version}
