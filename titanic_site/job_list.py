"""The jobs of all kinds in one list."""

import heapq
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


def newest(request: HttpRequest | Request, *, before: datetime | None = None, count: int) -> list[Job]:
    """Return the last `count` jobs of all kinds that the request may see, newest first: one query per kind."""
    pages = []
    for model in kinds():
        jobs = visible(model, request).order_by("-created_at")
        pages.append(jobs.filter(created_at__lt=before)[:count] if before else jobs[:count])
    merged = heapq.merge(*pages, key=attrgetter("created_at"), reverse=True)
    return [job for job, _index in zip(merged, range(count), strict=False)]
