"""Refuse a database that this version cannot bring up to date; `migrate` and `up` say so before they change it."""

from collections.abc import Iterable, Sequence

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.migrations.loader import MigrationLoader


@register(Tags.database)
def made_by_another_version(
    app_configs: Sequence[AppConfig] | None = None, databases: Iterable[str] | None = None, **_: object
) -> list[CheckMessage]:
    """Find migrations in the database that this version does not have."""
    errors: list[CheckMessage] = []
    for alias in databases or ():
        loader = MigrationLoader(connections[alias])
        unknown = {f"{app}.{name}" for app, name in loader.applied_migrations or () if app in loader.migrated_apps}
        unknown -= {f"{app}.{name}" for app, name in loader.disk_migrations or ()}
        if unknown:
            message = (
                "This database was made by another version (0.2.0 upgrades none that was made before it; it has "
                f"{min(unknown)}): set TITANIC_HOME to an empty folder, or DATABASE_URL to an empty database."
            )
            errors.append(Error(message, id="titanic_site.E001"))
    return errors
