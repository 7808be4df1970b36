"""The pages of the features."""

from typing import Any

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
from ingestion.passenger import LABEL, VERBOSE_NAMES


@require_safe
def batches(request: HttpRequest) -> HttpResponse:
    """Every batch, and the definition they were made by."""
    found = page(FeatureBatch.objects.select_related("dataset"), request)
    context = {"page": found, "features": FEATURES, "version": VERSION}
    return render(request, "batch_list.html", context | _profile(FeatureBatch.objects.current().first()))


@require_safe
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """One batch and the trainings from it."""
    found = get_object_or_404(FeatureBatch.objects.select_related("dataset"), pk=pk)
    runs = found.training_runs.select_related("version")
    return render(request, "batch_detail.html", {"job": found, "runs": runs, **_profile(found)})


def _profile(batch: FeatureBatch | None) -> dict[str, Any]:
    """Feature by feature: what a batch looks like, and what the one before did."""
    now = (batch and batch.profile) or {}
    previous = batch.previous if batch and now else None
    before = (previous and previous.profile) or {}
    profile = [
        {
            "name": name,
            "now": with_category_names(name, now[name]),
            "before": with_category_names(name, before[name]) if name in before else None,
            "of": previous,
        }
        for name in FEATURES
        if name in now
    ]
    return {"profile": profile, "label": VERBOSE_NAMES[LABEL]}


@require_POST
def build(request: HttpRequest) -> HttpResponse:
    """Build the features of a dataset, the newest when none is named."""
    pk = request.POST.get("dataset", "")
    if pk.isdecimal():
        dataset = get_object_or_404(Dataset, pk=int(pk))
    else:
        newest = Dataset.objects.succeeded().first()
        if newest is None:
            raise Conflict(_("There is no dataset yet: ingest one first."))
        dataset = newest
    return start_job(request, services.queue_build(dataset=dataset), _("The features are being built."))
