"""python manage.py retire N [--reason TEXT]"""

from django.utils.translation import gettext_lazy

from training import registry
from training.management.commands._version import StageCommand


class Command(StageCommand):
    help = "Retire a model version."
    change = staticmethod(registry.retire)
    message = gettext_lazy("%(version)s is retired.")
