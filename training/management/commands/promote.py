"""python manage.py promote N [--reason TEXT]"""

from typing import Any

from django.utils.translation import gettext as _

from training import registry
from training.management.commands._version import StageCommand
from training.models import ModelVersion


class Command(StageCommand):
    help = "Promote a model version to champion."

    def step_for(self, version: ModelVersion, **options: Any) -> str:
        registry.promote(version, by=None, reason=options["reason"])
        return _("%(version)s is the champion.") % {"version": version}
