"""The pages of the features."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from core.errors import Conflict
from core.pagination import page
from core.views import start_job
from features import category_labels, services
from features.correlations import correlations
from features.definition import FEATURES, VERSION
from features.models import FeatureBatch
from ingestion import profile_charts
from ingestion.models import Dataset
from ingestion.passenger import LABEL
from ingestion.profiled import MOST_REFERENCES, chosen_reference
from ingestion.schema import VERBOSE_NAMES


@require_safe
def batches(request: HttpRequest) -> HttpResponse:
    """Show all batches, and the profile of the current one."""
    current = FeatureBatch.objects.current().first()
    context = {
        "page": page(FeatureBatch.objects.select_related("dataset"), request),
        "features": FEATURES,
        "version": VERSION,
        "job": current,
        **_profile(request, current),
    }
    return render(request, "batch_list.html", context)


@require_safe
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one batch and its profile."""
    batch = get_object_or_404(FeatureBatch.objects.select_related("dataset"), pk=pk)
    return render(request, "batch_detail.html", {"job": batch, **_profile(request, batch)})


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


def _profile(request: HttpRequest, batch: FeatureBatch | None) -> dict[str, object]:
    references = FeatureBatch.objects.succeeded().filter(profile__isnull=False).exclude(pk=batch.pk if batch else 0)
    reference = chosen_reference(request.GET, references)
    labels = {name: category_labels.label(name) for name in FEATURES}
    formulas = {name: category_labels.formula(name) for name in FEATURES}
    profile = batch.compare_profiles(labels, notes=formulas, reference=reference) if batch else []
    return {
        "profile": profile,
        "charts": profile_charts.charts(profile, in_words=category_labels.value_in_words),
        "correlations": correlations(profile),
        "references": references.only("pk")[:MOST_REFERENCES],
        "label": VERBOSE_NAMES[LABEL],
    }
