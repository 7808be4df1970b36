"""The first start: an admin, a token, schedules, and a champion. Safe to run again at every start."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from ingestion import sources
from ingestion.transports import local
from titanic_site import pipeline, schedules
from titanic_site.lib.errors import TitanicError
from titanic_site.models import AccessToken
from training.models import ModelVersion

ADMIN = "admin"


def credentials_path() -> Path:
    """Where the admin's password and token are kept."""
    return Path(settings.HOME / "credentials.json")


def bootstrap(*, say: Callable[[str], Any]) -> ModelVersion:
    """Bring a new installation to its first champion, telling each step; raises TitanicError."""
    if settings.ENV.artifact_bucket:
        # The client takes a second to import.
        from titanic_site.lib.bucket import Bucket

        Bucket().check()
    if _ensure_credentials():
        say(_("Admin and API token made: %(path)s") % {"path": credentials_path()})
    if created := schedules.create_missing():
        say(_("%(count)s schedules made") % {"count": created})
    local.inbox().mkdir(parents=True, exist_ok=True)
    sources.default()
    champion = ModelVersion.objects.champion()
    if champion is None:
        say(_("No champion yet: loading the passengers and training one, about half a minute"))
        pipeline.run()
        champion = ModelVersion.objects.champion()
    if champion is None:
        raise TitanicError(_("No model passed the gate: see /models/ for the checks that failed."))
    return champion


def _ensure_credentials() -> bool:
    """Make admin and token where they are missing; whether anything was."""
    path = credentials_path()
    if path.exists() and User.objects.filter(username=ADMIN).exists():
        return False
    password = settings.ENV.admin_password or secrets.token_urlsafe(16)
    user, _created = User.objects.get_or_create(username=ADMIN, defaults={"is_staff": True, "is_superuser": True})
    user.set_password(password)
    user.save()
    AccessToken.objects.filter(user=user, note="bootstrap").delete()
    _instance, token = AccessToken.objects.create(user, note="bootstrap")
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"username": ADMIN, "password": password, "token": token}, indent=1) + "\n")
    draft.rename(path)
    return True
