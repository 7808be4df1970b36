"""Alive, and ready: what a load balancer and an operator ask."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from core import heartbeat, redis
from core.errors import Unavailable
from core.redis import RedisUnavailable
from predictions import log, scorer

#: The log is drained every second: what has waited for this long (seconds) waits for something that does not come.
LONGEST_WAIT = 60


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as error:
        return f"PostgreSQL does not answer: {_first_line(error)}"
    return "ok"


def _redis() -> str:
    try:
        redis.client().ping()
    except RedisUnavailable as error:
        return f"Redis does not answer: {_first_line(error)}"
    return "ok"


def _champion() -> str:
    try:
        scorer.champion()
    except Unavailable as error:
        return error.message
    return "ok"


def _workers() -> str:
    try:
        silent = heartbeat.silent_queues()
    except RedisUnavailable as error:
        return f"Redis does not answer: {_first_line(error)}"
    return f"No worker answers for: {', '.join(silent)}" if silent else "ok"


def _log() -> str:
    try:
        waited, count = log.longest_wait(), log.backlog()
    except RedisUnavailable as error:
        return f"Redis does not answer: {_first_line(error)}"
    if waited <= LONGEST_WAIT:
        return "ok"
    return f"The prediction log is stuck: {count} predictions wait for PostgreSQL, the oldest for {waited:.0f} seconds."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database, "redis": _redis, "champion": _champion, "workers": _workers,
    "prediction log": _log,
}  # fmt: skip


def report() -> dict[str, Any]:
    """What each part says of itself: "ok" or the reason why not."""
    checks = {name: check() for name, check in CHECKS.items()}
    return {"ready": all(answer == "ok" for answer in checks.values()), "checks": checks}


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return HttpResponse("ok\n", content_type="text/plain", headers={"Cache-Control": "no-store"})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Whether pages, predictions and jobs work: 200, or 503 with the reason."""
    found = report()
    return JsonResponse(found, status=200 if found["ready"] else 503, headers={"Cache-Control": "no-store"})
