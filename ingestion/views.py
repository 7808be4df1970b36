"""The pages of ingestion."""

import csv
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.csv_injection import escape_row
from core.errors import Invalid
from core.pagination import page
from core.views import start_job
from ingestion import corrections, retention, services, sources
from ingestion.forms import AddressForm, CorrectedForm, RowForm, SourceForm, UploadForm
from ingestion.models import Dataset, RefusedRow, Source
from ingestion.passenger import VERBOSE_NAMES
from ingestion.transports import local

_PROBLEMS_A_PAGE = 100
_REASONS_SHOWN = 5


@require_safe
def datasets(request: HttpRequest) -> HttpResponse:
    """Every dataset, the sources they come from, and the ways to a new one."""
    return _list(request, AddressForm(), UploadForm())


@require_POST
def ingest(request: HttpRequest) -> HttpResponse:
    """Load the default source, something by its address, or an upload."""
    if "file" in request.FILES:
        upload = UploadForm(request.POST, request.FILES)
        if not upload.is_valid():
            return _list(request, AddressForm(), upload, status=400)
        dataset = services.queue_upload(file=upload.cleaned_data["file"])
    elif "uri" in request.POST:
        address = AddressForm(request.POST)
        if not address.is_valid():
            return _list(request, address, UploadForm(), status=400)
        dataset = services.queue_ingest(uri=address.cleaned_data["uri"])
    else:
        dataset = services.queue_source(sources.default())
    return start_job(request, dataset, _("The ingest has begun."))


@require_http_methods(["GET", "HEAD", "POST"])
def edit_source(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """A new source, or a change to one."""
    source = get_object_or_404(Source.objects.select_related("schedule__interval"), pk=pk) if pk else None
    form = SourceForm(request.POST or None, instance=source)
    if request.method == "POST" and form.is_valid():
        kept = form.keep()
        messages.success(request, _("%(source)s is saved.") % {"source": kept})
        return redirect("datasets")
    return render(request, "source_edit.html", {"form": form, "source": source}, status=400 if form.errors else 200)


@require_POST
def ingest_source(request: HttpRequest, pk: int) -> HttpResponse:
    """Load what is at a source now."""
    return start_job(request, services.queue_source(get_object_or_404(Source, pk=pk)), _("The ingest has begun."))


@require_POST
def remove_source(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a source; what came from it stays."""
    source = get_object_or_404(Source, pk=pk)
    sources.remove(source)
    messages.success(request, _("%(source)s is removed; its datasets stay.") % {"source": source})
    return redirect("datasets")


@require_safe
def dataset(request: HttpRequest, pk: int) -> HttpResponse:
    """One dataset: what it looks like, its problems, where it comes from and what was made of it."""
    found = get_object_or_404(Dataset.objects.select_related("source"), pk=pk)
    return _detail(request, found, CorrectedForm())


@require_safe
def problems_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """All problems with their reasons."""
    found = get_object_or_404(Dataset, pk=pk)
    response = _csv(f"dataset-{found.pk}-problems.csv")
    writer = csv.writer(response)
    writer.writerow([_("line"), _("column"), _("value"), _("severity"), _("reason")])
    for problem in found.problems.iterator():
        cells = [problem.line_number, problem.column, problem.value, problem.severity, problem.reason]
        writer.writerow(escape_row(cells))
    return response


@require_safe
def refused_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """The rows that are still refused, to be mended and sent back."""
    found = get_object_or_404(Dataset, pk=pk)
    response = _csv(f"dataset-{found.pk}-refused.csv")
    writer = csv.writer(response)
    for row in corrections.rejected_rows(found):
        writer.writerow(escape_row(row))
    return response


@require_POST
def accept_corrected(request: HttpRequest, pk: int) -> HttpResponse:
    """Admit the rows of a mended file."""
    found = get_object_or_404(Dataset, pk=pk)
    form = CorrectedForm(request.POST, request.FILES)
    if not form.is_valid():
        return _detail(request, found, form, status=400)
    result = corrections.accept_file(found, form.cleaned_data["file"])
    if result.accepted_count:
        messages.success(request, _("%(count)s rows admitted.") % {"count": result.accepted_count})
    if result.rejected:
        text = _("%(count)s rows are still refused.") % {"count": len(result.rejected)}
        reasons = [f"{line}: {reason}" for line, reason in list(result.rejected.items())[:_REASONS_SHOWN]]
        messages.error(request, " ".join([text, *reasons]))
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
def refused_row(request: HttpRequest, pk: int, line: int) -> HttpResponse:
    """One refused row: what is wrong with it, and a form to mend it."""
    row = get_object_or_404(RefusedRow.objects.select_related("dataset"), dataset=pk, line_number=line)
    form = RowForm(request.POST or None, dataset=row.dataset, initial=corrections.cells_of(row))
    if request.method == "POST" and form.is_valid():
        try:
            corrections.accept(row, form.cleaned_data)
        except Invalid as invalid:
            for name, said in invalid.errors.items():
                for _code, text in said:
                    form.add_error(name, text)
        else:
            messages.success(request, _("Line %(line)s is admitted.") % {"line": line})
            return redirect(row.dataset)
    problems = row.dataset.problems.filter(line_number=line)
    context = {"row": row, "job": row.dataset, "form": form, "problems": problems}
    return render(request, "refused_row.html", context, status=400 if form.errors else 200)


@require_POST
def archive(request: HttpRequest, pk: int) -> HttpResponse:
    """Drop a dataset's rows and keep what it was."""
    found = get_object_or_404(Dataset, pk=pk)
    retention.archive(found)
    messages.success(request, _("The rows are gone; profile and lineage stay."))
    return redirect(found)


def _detail(request: HttpRequest, found: Dataset, corrected: CorrectedForm, *, status: int = 200) -> HttpResponse:
    context = {
        "job": found,
        "page": page(found.problems.all(), request, parameter="after", is_ascending=True, size=_PROBLEMS_A_PAGE),
        "corrected": corrected,
        "profile": _profile(found),
        "is_archivable": Dataset.objects.archivable().filter(pk=found.pk).exists(),
        "batches": found.feature_batches.order_by("-pk").prefetch_related("training_runs__version"),
    }
    return render(request, "dataset_detail.html", context, status=status)


def _profile(dataset: Dataset) -> list[dict[str, Any]]:
    """Column by column: the profile, and that of the dataset before."""
    previous = dataset.previous if dataset.profile else None
    before = previous.profile if previous and previous.profile else {}
    return [
        {"name": name, "label": VERBOSE_NAMES[name], "now": found, "before": before.get(name), "of": previous}
        for name, found in _in_order(dataset.profile or {})
    ]


def _in_order(profile: dict[str, Any]) -> list[tuple[str, Any]]:
    """The passenger's fields first: JSON keeps no order."""
    order = {name: place for place, name in enumerate(VERBOSE_NAMES)}
    return sorted(profile.items(), key=lambda item: order[item[0]])


def _list(request: HttpRequest, address: AddressForm, upload: UploadForm, *, status: int = 200) -> HttpResponse:
    context = {
        "page": page(Dataset.objects.select_related("source"), request),
        "sources": Source.objects.select_related("schedule__interval", "schedule__crontab"),
        "address": address,
        "upload": upload,
        "inbox": local.inbox(),
    }
    return render(request, "dataset_list.html", context, status=status)


def _csv(name: str) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response
