"""python manage.py bootstrap"""

from django.utils.translation import gettext as _

from core.commands import StepCommand
from titanic_site import bootstrap


class Command(StepCommand):
    help = "Make the admin, an API token, the schedules and, when there is no champion, a model of the sample."

    def step(self, **options: object) -> str:
        champion = bootstrap.bootstrap(echo=self.stdout.write)
        return _("Ready to serve: %(champion)s is the champion.") % {"champion": champion}
