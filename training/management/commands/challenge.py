"""python manage.py challenge N [--reason TEXT]"""

from typing import Any

from django.utils.translation import gettext as _

from training import registry
from training.management.commands._version import StageCommand
from training.models import ModelVersion


class Command(StageCommand):
    help = "Start shadow scoring: a model version scores the requests that the champion serves."

    def step_for(self, version: ModelVersion, **options: Any) -> str:
        registry.start_shadow(version, by=None, reason=options["reason"])
        return _("%(version)s is now scoring in the shadow.") % {"version": version}
