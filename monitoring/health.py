"""Liveness and readiness, for load balancers and operators."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypedDict

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext_noop, override
from django.views.decorators.http import require_safe
from django_celery_beat.models import PeriodicTask

from core import heartbeat, redis
from core.errors import Unavailable
from core.messages import Message
from core.redis import RedisUnavailable
from predictions import log, scorer

OK = "ok"
#: The log is written every second: one whose oldest entry has waited for more seconds than this is stuck.
MAX_LOG_DELAY = 60


class Report(TypedDict):
    """Whether predictions are answered, and for each part OK or the reason why not."""

    ready: bool
    checks: dict[str, Message | str]


def report() -> Report:
    """Check every part."""
    checks: dict[str, Message | str] = {}

    @contextmanager
    def check(part: str) -> Iterator[None]:
        checks[part] = OK
        try:
            yield
        except Unavailable as error:
            checks[part] = error.message
        except (DatabaseError, InterfaceError, *RedisUnavailable) as error:
            service = "Redis" if isinstance(error, RedisUnavailable) else "PostgreSQL"
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            checks[part] = Message("%(service)s does not answer: %(reason)s") % {"service": service, "reason": reason}

    with check(gettext_noop("database")), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with check(gettext_noop("redis")):
        redis.client().ping()
    with check(gettext_noop("champion")):
        scorer.champion()
    with check(gettext_noop("workers")):
        if silent := heartbeat.silent_queues():
            raise Unavailable(_silence(silent))
    with check(gettext_noop("prediction log")):
        if (waited := log.longest_wait()) > MAX_LOG_DELAY:
            message = Message(
                "The prediction log is stuck: %(count)s predictions wait for PostgreSQL, the oldest for %(seconds)s s."
            )
            raise Unavailable(message % {"count": log.backlog(), "seconds": round(waited)})
    # One of the two takes the prediction log; what else is unavailable raises an alert and stops no prediction.
    is_logged = OK in (checks["database"], checks["redis"])
    return {"ready": is_logged and checks["champion"] == OK, "checks": checks}


def _silence(queues: list[str]) -> Message:
    """Say why the queues have no heartbeat: its schedule is switched off, or no worker takes it."""
    schedules = PeriodicTask.objects.filter(task="titanic_site.tasks.heartbeat", enabled=False, queue__in=queues)
    off = list(schedules.values_list("queue", flat=True))
    lost = [queue for queue in queues if queue not in off]
    no_worker = Message("No worker is available for: %(queues)s") % {"queues": ", ".join(lost)}
    if not off:
        return no_worker
    switched_off = Message("The schedule of the queue heartbeat is switched off for: %(queues)s")
    switched_off %= {"queues": ", ".join(sorted(off))}
    return Message("%(first)s. %(second)s") % {"first": no_worker, "second": switched_off} if lost else switched_off


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200: the process is alive."""
    return HttpResponse("ok\n", content_type="text/plain", headers={"Cache-Control": "no-store"})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when this process can predict, and name what else is unavailable; or 503 with the reason."""
    readiness = report()
    status = HTTPStatus.OK if readiness["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
    # It comes before the middleware that sets a language.
    with override(settings.LANGUAGE_CODE):
        checks = {part: str(answer) for part, answer in readiness["checks"].items()}
    return JsonResponse({**readiness, "checks": checks}, status=status, headers={"Cache-Control": "no-store"})
