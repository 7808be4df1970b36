"""python manage.py promote N [--reason TEXT]"""

from django.utils.translation import gettext_lazy

from training import registry
from training.management.commands._version import StageCommand


class Command(StageCommand):
    help = "Promote a model version to champion."
    change = staticmethod(registry.promote)
    message = gettext_lazy("%(version)s is the champion.")
