"""The jobs of all kinds in one list."""

import heapq
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import cast

from django.http import HttpRequest
from rest_framework.request import Request

from core.jobs import Job, JobQuerySet, kinds


def kind_of(model: type[Job] | Job) -> str:
    """Return the kind's name in addresses and JSON."""
    return str(model._meta.model_name)


def model_of(kind: str) -> type[Job] | None:
    """Return the job model of that name; None where there is none."""
    return {kind_of(model): model for model in kinds()}.get(kind)


def visible(model: type[Job], request: HttpRequest | Request) -> JobQuerySet[Job]:
    """Select the jobs of a kind that the request may see."""
    # By its own manager: a kind may have more to say of it.
    jobs = cast("JobQuerySet[Job]", model._default_manager.all())
    return jobs.visible_to(request)


def labels() -> list[tuple[str, str]]:
    """List the kinds with what people call them."""
    return [(kind_of(model), str(model.kind)) for model in kinds()]


@dataclass(frozen=True)
class Selection:
    """Which jobs to list: of a kind, in a state, created within a span of time."""

    kind: str = ""
    state: str = ""
    since: datetime | None = None
    until: datetime | None = None


def newest(
    request: HttpRequest | Request, *, count: int, before: datetime | None = None, selection: Selection = Selection()
) -> list[Job]:
    """Return the last `count` jobs that the request may see, newest first: one query per kind, or that of one kind."""
    ends = [moment for moment in (before, selection.until) if moment is not None]
    lookups = {
        "created_at__lt": min(ends, default=None), "created_at__gte": selection.since, "state": selection.state or None
    }  # fmt: skip
    chosen = {name: value for name, value in lookups.items() if value is not None}
    pages = [
        visible(model, request).filter(**chosen).order_by("-created_at")[:count]
        for model in kinds()
        if selection.kind in ("", kind_of(model))
    ]
    merged = heapq.merge(*pages, key=attrgetter("created_at"), reverse=True)
    return [job for job, _index in zip(merged, range(count), strict=False)]
