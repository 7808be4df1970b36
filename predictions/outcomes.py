"""What really happened: recorded once, and never changed."""

from uuid import UUID

from django.contrib.auth.models import User
from django.http import Http404
from django.utils.translation import gettext as _

from predictions import log
from predictions.models import Outcome
from titanic_site.lib.errors import Conflict


def record(prediction_id: UUID, *, survived: bool, by: User | None) -> tuple[Outcome, bool]:
    """Write down an outcome, and whether it is new; raises Http404 for no such prediction, Conflict for another one."""
    if log.find(prediction_id) is None:
        raise Http404
    # Two at once: the first one counts, by the database.
    outcome, is_new = Outcome.objects.get_or_create(
        prediction_id=prediction_id, defaults={"survived": survived, "by": by}
    )
    if outcome.survived != survived:
        raise Conflict(_("Another outcome is recorded for this prediction: it stays."), field="survived")
    return outcome, is_new


def of(prediction_id: UUID) -> Outcome | None:
    """What is recorded, or None."""
    return Outcome.objects.filter(pk=prediction_id).first()
