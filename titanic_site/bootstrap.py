"""The first start: an admin, a token, schedules, and a champion. Safe to run again at every start."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.errors import TitanicError
from core.models import Action
from ingestion import sources
from ingestion.transports import local
from monitoring.models import AlertRule
from titanic_site import pipeline, schedules
from titanic_site.models import AccessToken
from training.models import ModelVersion

ADMIN = "admin"


def credentials_path() -> Path:
    """Return the file of the admin's password and token."""
    return Path(settings.HOME / "credentials.json")


def bootstrap(*, echo: Callable[[str], object]) -> ModelVersion:
    """Take a new installation to its first champion, printing each step; raises TitanicError."""
    if settings.ARTIFACT_BUCKET:
        # The client takes a second to import.
        from core.bucket import Bucket

        Bucket().check()
    ensure_admin(echo=echo)
    if created := schedules.create_missing():
        echo(_("%(count)s schedules made") % {"count": created})
    AlertRule.objects.create_missing()
    local.inbox().mkdir(parents=True, exist_ok=True)
    sources.default()
    champion = ModelVersion.objects.champion()
    if champion is None:
        echo(_("No champion yet: loading the sample and training one, about half a minute"))
        pipeline.run()
        champion = ModelVersion.objects.champion()
    if champion is None:
        raise TitanicError(_("No model passed the gate: see /models/ for the checks that failed."))
    return champion


@transaction.atomic
def ensure_admin(*, echo: Callable[[str], object]) -> None:
    """Make the first administrator with a token and write both to a file; one that exists is left unchanged."""
    # Two hosts may start at once on one database.
    lock(AdvisoryLock.FIRST_ADMIN)
    path = credentials_path()
    admin = User.objects.filter(Q(username=ADMIN) | Q(is_superuser=True)).first()
    if admin is None:
        password = settings.ADMIN_PASSWORD or secrets.token_urlsafe(16)
        admin = User.objects.create_superuser(ADMIN, password=password)
        row, token = AccessToken.objects.create(admin, note="bootstrap", can_admin=True)
        audit.record(Action.ADDED, row)
        # Written whole or not at all, and before the commit: killed in between, the next start makes both again.
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({"username": ADMIN, "password": password, "token": token}, indent=1) + "\n")
        if path.exists():
            # It belongs to another database.
            path.replace(path.with_suffix(".old.json"))
        draft.rename(path)
        echo(_("Admin and API token made: %(path)s") % {"path": path})
    elif not path.exists():
        echo(
            _(
                "The administrator %(user)s exists and is left unchanged; %(path)s is not written. For access from "
                "here, run manage.py changepassword %(user)s or manage.py create_token %(user)s."
            )
            % {"user": admin.username, "path": path}
        )
