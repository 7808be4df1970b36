"""python manage.py challenge N [--reason TEXT]"""

from django.utils.translation import gettext_lazy

from training import registry
from training.management.commands._version import StageCommand


class Command(StageCommand):
    help = "Start shadow scoring: a model version scores the requests that the champion serves."
    change = staticmethod(registry.start_shadow)
    message = gettext_lazy("%(version)s is now scoring in the shadow.")
