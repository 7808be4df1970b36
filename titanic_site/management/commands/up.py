"""python manage.py up"""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from titanic_site.runtime import up


class Command(BaseCommand):
    help = (
        "Run everything on this machine until Ctrl-C: services, web, workers and scheduler; or parts, on several hosts."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(up.PARTS)}; all when left out")
        parser.add_argument("--stop", action="store_true", help="stop the one that runs in this TITANIC_HOME")
        parser.add_argument("--restart", action="store_true", help="have it stop and start again where it runs")

    def handle(self, *args: object, **options: Any) -> None:
        console = Console(soft_wrap=True, highlight=False, markup=False)
        if unknown := set(options["parts"]) - set(up.PARTS):
            raise CommandError(f"There is no part {min(unknown)}: there are {', '.join(up.PARTS)}.")
        try:
            if options["stop"]:
                console.print("Stopped." if up.stop() else "Nothing runs here.")
            elif options["restart"]:
                if not up.restart():
                    raise CommandError("Nothing runs here: start it with make run.")
                console.print("Stopped, and starting again: READY is printed where it runs.")
            else:
                sys.exit(up.run(echo=console.print, parts=options["parts"] or up.PARTS))
        except up.CannotRunError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            console.print("Stopped before it was ready.")
