"""Refuse migrations that break processes of the version before, or that lock a table for long.

python -m tools.lint_migrations; it looks at those that are newer than the oldest version that upgrades are tested from.
"""

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import django
from django.core.management import call_command
from django_migration_linter.management.commands.lintmigrations import Command

from titanic_site.runtime import embedded
from tools import OLDEST_UPGRADED

ROOT = Path(__file__).parents[1]
#: What it says of these is known and harmless.
ACCEPTED = {
    # The columns get their defaults in the database by the next migrations. A constraint of the datasets is made anew:
    # they are as few as the files that were loaded.
    "0008_reading",
    "0010_reading",
    # varchar becomes text, of which PostgreSQL rewrites and checks nothing. The column that it renames gets its
    # name back by the next one.
    "0013_stored_messages",
    "0014_alert_columns",
}


def main(*arguments: str) -> None:
    """Lint in a home of its own, since the linter wants a database; exit code 1 when it refuses one."""
    command = ["git", "cat-file", "-e", f"{OLDEST_UPGRADED}^{{commit}}"]
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode:  # noqa: S603 - no shell
        print("Migrations are not linted: this clone has no history, by which the newer ones are known.")
        return
    with tempfile.TemporaryDirectory(prefix="titanic-lint-") as home:
        os.environ.update(
            TITANIC_HOME=home, DATABASE_URL="", REDIS_URL="", DJANGO_SETTINGS_MODULE="titanic_site.settings"
        )
        django.setup()
        logging.getLogger("django_migration_linter").setLevel(logging.WARNING)
        with embedded.in_use(embedded.Layout(Path(home))):
            # No app of the product: it is given as it is.
            call_command(
                Command(), "--no-cache", "--project-root-path", str(ROOT), "--git-commit-id", OLDEST_UPGRADED,
                "--ignore-name", *sorted(ACCEPTED), "--quiet", "ok", "ignore", *arguments,
            )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
