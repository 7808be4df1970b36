"""The pages of ingestion."""

import csv

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from ingestion import services, sources
from ingestion.transports import local
from ingestion.forms import AddressForm, UploadForm
from ingestion.models import Dataset, RowProblem
from titanic_site.lib.pages import page
from titanic_site.lib.spreadsheets import safe
from titanic_site.lib.views import started

_PROBLEMS_A_PAGE = 100
#: A key with so many digits fits no column.
_TOO_MANY_DIGITS = 19


@require_safe
def datasets(request: HttpRequest) -> HttpResponse:
    """Every dataset, and the ways to a new one."""
    return _list(request, AddressForm(), UploadForm())


@require_POST
def ingest(request: HttpRequest) -> HttpResponse:
    """Load the configured source, a file of the inbox, or an upload."""
    if "file" in request.FILES:
        upload = UploadForm(request.POST, request.FILES)
        if not upload.is_valid():
            return _list(request, AddressForm(), upload, status=400)
        dataset = services.queue_upload(file=upload.cleaned_data["file"])
    else:
        address = AddressForm({"uri": request.POST.get("uri") or sources.default().uri})
        if not address.is_valid():
            return _list(request, address, UploadForm(), status=400)
        dataset = services.queue_ingest(uri=address.cleaned_data["uri"])
    return started(request, dataset, _("The ingest has begun."))


@require_safe
def dataset(request: HttpRequest, pk: int) -> HttpResponse:
    """One dataset, its problems, and what was made of it."""
    found = get_object_or_404(Dataset, pk=pk)
    problems, following = _problems(found, after=request.GET.get("after", ""))
    context = {
        "job": found,
        "problems": problems,
        "following": following,
        "batches": found.feature_batches.order_by("-pk").prefetch_related("training_runs__version"),
    }
    return render(request, "dataset_detail.html", context)


@require_safe
def problems_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """All refused rows with their reasons."""
    found = get_object_or_404(Dataset, pk=pk)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="dataset-{found.pk}-problems.csv"'
    writer = csv.writer(response)
    writer.writerow([_("line"), _("column"), _("value"), _("reason")])
    for problem in found.problems.iterator():
        writer.writerow(safe([problem.line_number, problem.column, problem.value, problem.reason]))
    return response


def _problems(dataset: Dataset, *, after: str) -> tuple[list[RowProblem], int | None]:
    """The problems after one, in the file's order, and the last of them when there are more."""
    rows = dataset.problems.order_by("pk")
    if after.isdecimal() and len(after) < _TOO_MANY_DIGITS:
        rows = rows.filter(pk__gt=int(after))
    found = list(rows[: _PROBLEMS_A_PAGE + 1])
    shown = found[:_PROBLEMS_A_PAGE]
    return shown, shown[-1].pk if len(found) > len(shown) else None


def _list(request: HttpRequest, address: AddressForm, upload: UploadForm, *, status: int = 200) -> HttpResponse:
    context = {
        "page": page(Dataset.objects.all(), request), "address": address, "upload": upload, "inbox": local.inbox(),
    }  # fmt: skip
    return render(request, "dataset_list.html", context, status=status)
