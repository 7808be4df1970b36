"""python manage.py promote N"""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from titanic_site.lib.commands import StepCommand
from titanic_site.lib.errors import TitanicError
from training import registry
from training.models import ModelVersion


class Command(StepCommand):
    help = "Put a model version in charge."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", type=int)
        parser.add_argument("--reason", default="")

    def step(self, **options: Any) -> str:
        version = ModelVersion.objects.filter(version=options["version"]).first()
        if version is None:
            raise TitanicError(_("There is no model %(version)s.") % {"version": options["version"]})
        registry.promote(version, by=None, reason=options["reason"])
        return _("%(version)s is in charge.") % {"version": version}
