"""Find models, datasets, runs and predictions by what people know of them; the prediction log by its indexes alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from core.jobs import Job, kinds
from ingestion.models import Dataset
from predictions import log
from predictions.filters import number
from predictions.models import REFERENCE, Prediction
from titanic_site import job_list
from training.models import ModelVersion

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

#: Of each kind so many hits are shown.
MOST_HITS = 10
LONGEST = REFERENCE.max_length
#: The beginning of an id: six figures are the ids of some hours.
_BEGINNING = re.compile(r"[0-9a-f]{6,32}")

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Hit:
    """A row that was found."""

    row: ModelVersion | Job | Prediction
    note: "StrOrPromise"
    #: Whether the text names this row alone.
    is_exact: bool = False


Groups = list[tuple["StrOrPromise", list[Hit]]]


def find(text: str, request: HttpRequest) -> Groups:
    """Return what the request may see of what the text names, by kind."""
    groups = [
        (_("Models"), list(_models(text))),
        (_("Datasets"), list(_datasets(text))),
        (_("Runs"), list(_runs(text, request))),
        (_("Predictions"), list(_predictions(text))),
    ]
    return [(title, hits) for title, hits in groups if hits]


def exact_hit(groups: Groups) -> ModelVersion | Job | Prediction | None:
    """Return the only hit, if the text names it."""
    hits = [hit for _title, found in groups for hit in found]
    return hits[0].row if len(hits) == 1 and hits[0].is_exact else None


def _named(rows: QuerySet[Row], text: str, *, number_field: str = "pk") -> Row | None:
    """Return the row whose number or title the text is, such as “3” or “Model 3”."""
    wanted = number(text.rsplit(maxsplit=1)[-1])
    row = None if wanted is None else rows.filter(**{number_field: wanted}).first()
    is_named = row is not None and (number(text) is not None or str(row).casefold() == text.casefold())
    return row if is_named else None


def _models(text: str) -> Iterator[Hit]:
    versions = ModelVersion.objects.only("version", "stage")
    if named := _named(versions, text, number_field="version"):
        yield Hit(named, named.get_stage_display(), is_exact=True)
    annotated = versions.filter(Q(tags__contains=[text]) | Q(notes__icontains=text))
    for version in annotated.exclude(pk=named.pk if named else 0)[:MOST_HITS]:
        yield Hit(version, version.get_stage_display())


def _datasets(text: str) -> Iterator[Hit]:
    datasets = Dataset.objects.defer("profile")
    if named := _named(datasets, text):
        yield Hit(named, f"{named.name} · {named.get_state_display()}", is_exact=True)
    # Not by address: it may have a password.
    like = datasets.filter(Q(name__icontains=text) | Q(source__name__icontains=text) | Q(sha256=text.lower()))
    for dataset in like.exclude(pk=named.pk if named else 0)[:MOST_HITS]:
        yield Hit(dataset, f"{dataset.name} · {dataset.get_state_display()}")


def _runs(text: str, request: HttpRequest) -> Iterator[Hit]:
    for model in kinds():
        if model is not Dataset and (job := _named(job_list.visible(model, request), text)):
            yield Hit(job, f"{job.kind} · {job.get_state_display()}", is_exact=True)


def _predictions(text: str) -> Iterator[Hit]:
    digits = text.lower().replace("-", "")
    if len(digits) == 32 and _BEGINNING.fullmatch(digits):  # noqa: PLR2004 - a UUID's
        try:
            yield Hit(log.get(UUID(digits)), "", is_exact=True)
        except Http404:
            return
    elif _BEGINNING.fullmatch(digits):
        first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        for prediction in Prediction.objects.filter(id__range=(first, last)).newest(MOST_HITS):
            yield Hit(prediction, prediction.summary)
    for prediction in Prediction.objects.filter(reference=text).newest(MOST_HITS):
        yield Hit(prediction, f"{text} · {prediction.summary}")
