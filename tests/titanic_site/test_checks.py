"""A database that this version cannot bring up to date is refused before anything is changed."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from titanic_site.checks import made_by_another_version

pytestmark = pytest.mark.django_db


def test_it_works() -> None:
    assert made_by_another_version(databases=["default"]) == []


def test_a_database_made_before_is_refused_in_one_sentence() -> None:
    MigrationRecorder(connection).record_applied("features", "0002_handled_count")

    (error,) = made_by_another_version(databases=["default"])

    assert "features.0002_handled_count" in error.msg
    assert "set TITANIC_HOME to an empty folder" in error.msg
    with pytest.raises(SystemCheckError, match="made by another version"):
        call_command("migrate", skip_checks=False)
