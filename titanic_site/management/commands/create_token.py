"""python manage.py create_token USER"""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from titanic_site.lib.commands import StepCommand
from titanic_site.lib.errors import TitanicError
from titanic_site.models import AccessToken


class Command(StepCommand):
    help = "Make an API token for a user and print it: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")

    def step(self, **options: Any) -> str:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise TitanicError(_("There is no user %(user)s: make one in the admin.") % {"user": options["user"]})
        return str(AccessToken.objects.create(user, note="create_token")[1])
