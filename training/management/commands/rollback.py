"""python manage.py rollback"""

from django.utils.translation import gettext as _

from core.commands import StepCommand
from training import registry


class Command(StepCommand):
    help = "Promote the previous champion again."

    def step(self, **options: object) -> str:
        return _("%(version)s is the champion again.") % {"version": registry.rollback(by=None)}
