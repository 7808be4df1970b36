"""python manage.py challenge N [--reason TEXT]"""

from typing import Any

from django.utils.translation import gettext as _

from training import registry
from training.management.commands._version import StageCommand
from training.models import ModelVersion


class Command(StageCommand):
    help = "Let a model version score in the shadow of the champion."

    def about(self, version: ModelVersion, **options: Any) -> str:
        registry.challenge(version, by=None, reason=options["reason"])
        return _("%(version)s scores in the shadow now.") % {"version": version}
