"""The jobs of all kinds in one list."""

import heapq
from datetime import datetime
from operator import attrgetter

from django.http import HttpRequest
from rest_framework.request import Request

from core.jobs import Job, JobQuerySet, kinds


def kind_of(model: type[Job] | Job) -> str:
    """Return the kind's name in addresses and JSON."""
    return str(model._meta.model_name)


def model_of(kind: str) -> type[Job] | None:
    """Return the job model of that name; None where there is none."""
    return {kind_of(model): model for model in kinds()}.get(kind)


def newest(request: HttpRequest | Request, *, before: datetime | None = None, count: int) -> list[Job]:
    """Return the last `count` jobs of all kinds that the request may see, newest first: one query per kind."""
    pages = []
    for model in kinds():
        jobs: JobQuerySet[Job] = JobQuerySet(model).visible_to(request).order_by("-created_at")
        pages.append(jobs.filter(created_at__lt=before)[:count] if before else jobs[:count])
    merged = heapq.merge(*pages, key=attrgetter("created_at"), reverse=True)
    return [job for job, _index in zip(merged, range(count), strict=False)]
