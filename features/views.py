"""The pages of the features."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from core.errors import Conflict
from core.pagination import page
from core.views import start_job
from features import services
from features.category_labels import with_category_names
from features.definition import FEATURES, VERSION
from features.models import FeatureBatch
from ingestion.models import Dataset
from ingestion.passenger import LABEL
from ingestion.schema import VERBOSE_NAMES

if TYPE_CHECKING:
    from features.profile import FeatureColumnProfile


@dataclass(frozen=True)
class FeatureComparison:
    """A feature's profile in a batch, and in the batch before where that has one."""

    name: str
    now: "FeatureColumnProfile"
    before: "FeatureColumnProfile | None"
    of: FeatureBatch | None


@require_safe
def batches(request: HttpRequest) -> HttpResponse:
    """Show all batches, and the profile of the current one."""
    context = {
        "page": page(FeatureBatch.objects.select_related("dataset"), request),
        "features": FEATURES,
        "version": VERSION,
        "profile": _compare(FeatureBatch.objects.current().first()),
        "label": VERBOSE_NAMES[LABEL],
    }
    return render(request, "batch_list.html", context)


@require_safe
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one batch and its profile."""
    batch = get_object_or_404(FeatureBatch.objects.select_related("dataset"), pk=pk)
    context = {"job": batch, "profile": _compare(batch), "label": VERBOSE_NAMES[LABEL]}
    return render(request, "batch_detail.html", context)


def _compare(batch: FeatureBatch | None) -> list[FeatureComparison]:
    """Compare a batch's profile with the one before, feature by feature; empty for a batch without a profile."""
    if batch is None or not batch.profile:
        return []
    now, previous = batch.profile, batch.previous
    before = (previous and previous.profile) or {}
    return [
        FeatureComparison(
            name,
            now=with_category_names(name, now[name]),
            before=with_category_names(name, before[name]) if name in before else None,
            of=previous,
        )
        for name in FEATURES
        if name in now
    ]


@require_POST
def build(request: HttpRequest) -> HttpResponse:
    """Queue a build of a dataset's features; the newest dataset when none is named."""
    pk = request.POST.get("dataset", "")
    if pk.isdecimal():
        dataset = get_object_or_404(Dataset, pk=int(pk))
    else:
        newest = Dataset.objects.succeeded().first()
        if newest is None:
            raise Conflict(_("There is no dataset yet: ingest one first."))
        dataset = newest
    return start_job(request, services.queue_build(dataset=dataset), _("The features are being built."))
