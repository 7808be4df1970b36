"""How every command ends: one sentence, and an exit code that tells."""

from abc import ABC, abstractmethod
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils.translation import gettext as _

from titanic_site.lib.errors import TitanicError
from titanic_site.lib.jobs import Cancelled, NotClaimed
from titanic_site.lib.redis import RedisAway


class StepCommand(BaseCommand, ABC):
    """A step of the life, alone and without a broker."""

    @abstractmethod
    def step(self, **options: Any) -> str:
        """Do it and say what came of it."""

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            return self.step(**options)
        except TitanicError as error:
            raise CommandError(error.message) from error
        except (Cancelled, NotClaimed) as error:
            raise CommandError(_("The run was cancelled.")) from error
        except (OperationalError, *RedisAway) as error:
            raise CommandError(_("A service is away: %(error)s") % {"error": str(error).strip()}) from error
