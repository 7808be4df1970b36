#!/usr/bin/env python
"""Django's command line, with the embedded services running while a command needs them."""

import os
import signal
import sys
import warnings

#: Neither asks the database nor Redis; `up` looks after the services itself.
WITHOUT_SERVICES = frozenset({
    "check", "collectstatic", "compilemessages", "diffsettings", "findstatic", "help", "makemessages", "makemigrations",
    "startapp", "startproject", "up", "version",
})  # fmt: skip


def main() -> None:
    """Run the command; SIGTERM ends it in an orderly way."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "titanic_site.settings")
    signal.signal(signal.SIGTERM, _exit_orderly)
    if not _needs_services(sys.argv[1:]):
        # Said by makemigrations, which goes on without the database.
        warnings.filterwarnings("ignore", message="Got an error checking a consistent migration history")
        _execute()
        return
    from titanic_site.runtime import embedded
    from titanic_site.settings import HOME, IS_EMBEDDED

    if not IS_EMBEDDED:
        _execute()
        return
    try:
        with embedded.in_use(embedded.Layout(HOME)):
            _execute()
    except embedded.EmbeddedError as error:
        sys.exit(str(error))


def _needs_services(arguments: list[str]) -> bool:
    if not arguments or {"--help", "-h", "--version"} & set(arguments):
        return False
    return arguments[0] not in WITHOUT_SERVICES or "--database" in arguments


def _execute() -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


def _exit_orderly(number: int, _: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
