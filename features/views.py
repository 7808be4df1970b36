"""The pages of the features."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from features import services
from features.definition import FEATURES, VERSION
from features.models import FeatureBatch
from ingestion.models import Dataset
from titanic_site.lib.errors import Conflict
from titanic_site.lib.pages import page
from titanic_site.lib.views import started


@require_safe
def batches(request: HttpRequest) -> HttpResponse:
    """Every batch, and the definition they were made by."""
    found = page(FeatureBatch.objects.select_related("dataset"), request)
    return render(request, "batch_list.html", {"page": found, "features": FEATURES, "version": VERSION})


@require_safe
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """One batch and the trainings from it."""
    found = get_object_or_404(FeatureBatch.objects.select_related("dataset"), pk=pk)
    return render(request, "batch_detail.html", {"job": found, "runs": found.training_runs.select_related("version")})


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
    return started(request, services.queue_build(dataset=dataset), _("The features are being built."))
