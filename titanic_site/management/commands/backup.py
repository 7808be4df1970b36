"""python manage.py backup FILE"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _

from core.commands import StepCommand
from titanic_site import backup


class Command(StepCommand):
    help = "Store database, artifacts and settings in one archive, while everything runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the archive, a new file")

    def step(self, **options: Any) -> str:
        path = options["file"].absolute()
        manifest = backup.make(path)
        message = _(
            "%(file)s: %(count)s files, %(size)s. It holds the key and passwords: keep it where nobody reads it."
        )
        return message % {
            "file": path, "count": len(manifest.sha256), "size": filesizeformat(path.stat().st_size),
        }  # fmt: skip
