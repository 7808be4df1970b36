"""What the templates of all pages know."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.db.models import Func, Subquery
from django.db.models.fields.json import KT
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from core.roles import Scope, Scopes, scopes_of_request
from ingestion.passenger import SUBJECT
from monitoring.models import Alert
from titanic_site.forms import THEMES
from training.models import ModelVersion, Stage


@dataclass(frozen=True)
class Standing:
    """What the top bar says of the system: the champion with its quality, and how many alerts are open."""

    champion: int | None = None
    roc_auc: float = 0.0
    open_alerts: int = 0


def standing() -> Standing:
    """Look up how things stand, in one query when a model is serving; nothing while PostgreSQL is unavailable."""
    alerts = Alert.objects.open().order_by()
    count = Subquery(alerts.annotate(count=Func("pk", function="COUNT")).values("count"))
    figures = ModelVersion.objects.filter(stage=Stage.CHAMPION).annotate(
        auc=KT("metrics__cross_validation__roc_auc__mean")
    )
    try:
        row = figures.values_list("version", "auc", count).first()
        return Standing(row[0], float(row[1]), row[2]) if row else Standing(open_alerts=alerts.count())
    except (DatabaseError, InterfaceError):
        return Standing()


def visitor(request: HttpRequest) -> dict[str, object]:
    """Add what the visitor may do and how they want it shown, and the table's subject; listed before `auth`."""
    try:
        # A request that is rejected before the authentication middleware has no user.
        scopes: Scopes = scopes_of_request(request) if hasattr(request, "user") else frozenset()
    except (DatabaseError, InterfaceError):
        # The form works also while the session cannot be looked up.
        request.user = AnonymousUser()
        scopes = scopes_of_request(request)
    return {
        "scopes": scopes,
        "may_predict": settings.PUBLIC_FORM or Scope.PREDICT in scopes,
        "subject": SUBJECT,
        # Looked up by whole pages alone: fragments do not show it.
        "standing": SimpleLazyObject(standing),
        "theme": theme if (theme := request.COOKIES.get("theme")) in THEMES else "",
        "zone": timezone.get_current_timezone_name(),
    }
