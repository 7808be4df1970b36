"""The jobs of all kinds in one list."""

from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import cast

from django.db.models import JSONField, Value
from django.http import HttpRequest
from rest_framework.request import Request

from core.jobs import Job, JobQuerySet, kinds
from training.models import WEIGHTY_OF_VERSION, Reproduction


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
    """Return the last `count` jobs that the request may see, newest first.

    One query finds them, and one fetches those of each kind.
    """
    ends = [moment for moment in (before, selection.until) if moment is not None]
    lookups = {
        "created_at__lt": min(ends, default=None), "created_at__gte": selection.since, "state": selection.state or None
    }  # fmt: skip
    chosen = {name: value for name, value in lookups.items() if value is not None}
    models = {kind_of(model): model for model in kinds() if selection.kind in ("", kind_of(model))}
    heads = [
        visible(model, request)
        .filter(**chosen)
        .order_by("-created_at")
        .values_list(Value(kind), "pk", "created_at")[:count]
        for kind, model in models.items()
    ]
    merged = heads[0].union(*heads[1:], all=True) if heads else []
    rows = sorted(merged, key=itemgetter(2), reverse=True)[:count]
    jobs = {}
    for kind in {kind for kind, _pk, _at in rows}:
        keys = [pk for of_kind, pk, _at in rows if of_kind == kind]
        # Profiles and reports weigh a hundred times what a list shows.
        weighty = [field.name for field in models[kind]._meta.fields if isinstance(field, JSONField)]
        chosen_jobs = visible(models[kind], request).defer(*weighty)
        if models[kind] is Reproduction:
            # Its title names the version.
            chosen_jobs = chosen_jobs.select_related("version").defer(*WEIGHTY_OF_VERSION)  # type: ignore[misc]
        jobs[kind] = chosen_jobs.in_bulk(keys)
    return [jobs[kind][pk] for kind, pk, _at in rows if pk in jobs[kind]]
