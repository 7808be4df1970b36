"""python manage.py create_token USER [--scope read --scope predict] [--days N] [--note TEXT]"""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand
from core.errors import TitanicError
from core.roles import Scope, scopes_of
from titanic_site import accounts

_MOST_DAYS = 3_650


class Command(StepCommand):
    help = "Make an API token for a user and print it: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            help="what it permits; what the user's role does when left out",
        )
        parser.add_argument("--days", type=int, help="until it expires; never when left out")
        parser.add_argument("--note", default="create_token", help="whom or what it is for")

    def step(self, **options: Any) -> str:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise TitanicError(
                _("There is no user %(user)s: an administrator invites people at /users/.") % {"user": options["user"]}
            )
        permitted = scopes_of(user)
        days, scopes = options["days"], options["scope"] or permitted
        if not scopes or not permitted.issuperset(scopes):
            raise TitanicError(
                _("The role of %(user)s does not permit this token: give %(user)s a role at /users/.") % {"user": user}
            )
        if days is not None and not 1 <= days <= _MOST_DAYS:
            raise TitanicError(_("The days must be from 1 to %(most)s.") % {"most": _MOST_DAYS})
        return accounts.make_token(user, scopes=scopes, days=days, note=options["note"])[1]
