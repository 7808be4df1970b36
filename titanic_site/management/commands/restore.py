"""python manage.py restore FILE"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from core.commands import StepCommand
from titanic_site import backup


class Command(StepCommand):
    help = "Make a new installation the one in an archive of `backup`; the database must be empty."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the archive")

    def step(self, **options: Any) -> str:
        manifest = backup.restore(options["file"])
        message = _(
            "Restored as of %(moment)s. Start it as before; the settings of then are in %(file)s, "
            "put those that still hold into .env."
        )
        return message % {
            "moment": f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC", "file": settings.HOME / "restored.env",
        }  # fmt: skip
