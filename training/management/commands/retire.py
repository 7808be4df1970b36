"""python manage.py retire N [--reason TEXT]"""

from typing import Any

from django.utils.translation import gettext as _

from training import registry
from training.management.commands._version import StageCommand
from training.models import ModelVersion


class Command(StageCommand):
    help = "Retire a model version."

    def step_for(self, version: ModelVersion, **options: Any) -> str:
        registry.retire(version, by=None, reason=options["reason"])
        return _("%(version)s is retired.") % {"version": version}
