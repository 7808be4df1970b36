"""The pages of ingestion."""

from collections.abc import Iterable, Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.csv_injection import csv_lines
from core.errors import Forbidden, Invalid
from core.pagination import page, page_by_name
from core.roles import Scope, requires, scopes_of_request
from core.users import current_user
from core.views import Confirmation, confirm, start_job
from ingestion import corrections, profile_charts, retention, services, sources
from ingestion.forms import AddressForm, CorrectedForm, RowForm, SourceForm, UploadForm
from ingestion.models import Dataset, RejectedRow, Source
from ingestion.passenger import LABEL, LABEL_WORDS
from ingestion.profiled import MOST_REFERENCES, chosen_reference
from ingestion.schema import CHOICES, VERBOSE_NAMES
from ingestion.transports import local
from ingestion.validation_messages import reason

_PROBLEMS_PER_PAGE = 100
_REASONS_SHOWN = 5


@require_safe
def datasets(request: HttpRequest) -> HttpResponse:
    """List datasets and sources, with the forms for a new dataset."""
    return _list(request, AddressForm(), UploadForm())


@require_POST
def ingest(request: HttpRequest) -> HttpResponse:
    """Load an upload, an address or the default source."""
    if "file" in request.FILES:
        upload = UploadForm(request.POST, request.FILES)
        if not upload.is_valid():
            return _list(request, AddressForm(), upload, status=400)
        dataset = services.queue_upload(
            file=upload.cleaned_data["file"], by=current_user(request), **upload.ingest_options()
        )
    elif "uri" in request.POST:
        address = AddressForm(request.POST)
        if not address.is_valid():
            return _list(request, address, UploadForm(), status=400)
        dataset = services.queue_ingest(uri=address.cleaned_data["uri"], by_command=False, **address.ingest_options())
    else:
        dataset = services.queue_source(sources.default())
    return start_job(request, dataset, _("The ingest has begun."))


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def edit_source(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Add or change a source."""
    source = _changeable_source(request, pk) if pk else None
    form = SourceForm(request.POST or None, instance=source)
    if request.method == "POST" and form.is_valid():
        messages.success(request, _("%(source)s is saved.") % {"source": form.save_with_schedule()})
        return redirect("datasets")
    return render(request, "source_edit.html", {"form": form, "source": source}, status=400 if form.errors else 200)


@require_POST
def ingest_source(request: HttpRequest, pk: int) -> HttpResponse:
    """Load the newest object at a source."""
    return start_job(request, services.queue_source(get_object_or_404(Source, pk=pk)), _("The ingest has begun."))


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def remove_source(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a source, once a person has confirmed it; its datasets stay."""
    source = _changeable_source(request, pk)
    if request.method == "POST":
        sources.remove(source)
        messages.success(request, _("%(source)s is removed; its datasets stay.") % {"source": source})
        return redirect("datasets")
    return confirm(
        request,
        Confirmation(
            title=_("Remove the source %(source)s?") % {"source": source},
            consequences=[
                _("Nothing is fetched from %(address)s any more: its schedule is removed too.")
                % {"address": source.address},
                _("Its datasets and what was made of them stay."),
                _("It cannot be undone; a source can be added again with the same settings."),
            ],
            submit=_("Remove the source"),
            back=reverse("source", args=[source.pk]),
        ),
    )


@require_safe
def dataset(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a dataset: its profile, its rejected rows, its source."""
    return _detail(request, get_object_or_404(Dataset.objects.select_related("source"), pk=pk), CorrectedForm())


@require_safe
def problems_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """Download every reason why a row was rejected or has a warning."""
    dataset = get_object_or_404(Dataset, pk=pk)
    header = [_("line"), _("column"), _("value"), _("severity"), _("reason")]
    rows = (
        (problem.line_number, problem.column, problem.value, problem.severity, problem.reason)
        for problem in dataset.problems.iterator()
    )
    return _csv(f"dataset-{dataset.pk}-problems.csv", [header, *rows])


@require_safe
def rejected_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """Download the rows that are still rejected, to be corrected and uploaded."""
    dataset = get_object_or_404(Dataset, pk=pk)
    return _csv(f"dataset-{dataset.pk}-rejected.csv", corrections.rejected_rows(dataset))


@require_POST
def correct(request: HttpRequest, pk: int) -> HttpResponse:
    """Accept the rows of a corrected file."""
    dataset = get_object_or_404(Dataset, pk=pk)
    form = CorrectedForm(request.POST, request.FILES)
    if not form.is_valid():
        return _detail(request, dataset, form, status=400)
    result = corrections.accept_file(dataset, form.cleaned_data["file"])
    if result.accepted_count:
        messages.success(request, _("%(count)s rows accepted.") % {"count": result.accepted_count})
    if result.rejected:
        text = _("%(count)s rows are still rejected.") % {"count": len(result.rejected)}
        reasons = [f"{line}: {reason}" for line, reason in list(result.rejected.items())[:_REASONS_SHOWN]]
        messages.error(request, " ".join([text, *reasons]))
    return redirect(dataset)


@require_http_methods(["GET", "HEAD", "POST"])
def rejected_row(request: HttpRequest, pk: int, line: int) -> HttpResponse:
    """Show a rejected row with its reasons, and correct it."""
    row = get_object_or_404(RejectedRow.objects.select_related("dataset"), dataset=pk, line_number=line)
    problems = row.dataset.problems.filter(line_number=line)
    cells = corrections.cells_of(row)
    form = RowForm(request.POST or None, dataset=row.dataset, initial=cells, problems=problems)
    following = row.next_open
    if request.method == "POST" and form.is_valid():
        try:
            corrections.accept(row, form.cleaned_data)
        except Invalid as invalid:
            for name, errors in invalid.errors.items():
                for _code, text in errors:
                    form.add_error(name, text)
        else:
            messages.success(request, _("Line %(line)s is accepted.") % {"line": line})
            return redirect(following if following and "next" in request.POST else row.dataset)
    context = {
        "row": row,
        "job": row.dataset,
        "form": form,
        "problems": problems,
        "next": following,
        "previous": row.previous_open,
    }
    return render(request, "rejected_row.html", context, status=400 if form.errors else 200)


@requires(Scope.OPERATE, even_to_read=True)
@require_http_methods(["GET", "HEAD", "POST"])
def archive(request: HttpRequest, pk: int) -> HttpResponse:
    """Drop a dataset's rows, once a person has confirmed it; profile and lineage stay."""
    dataset = get_object_or_404(Dataset, pk=pk)
    if request.method == "POST":
        retention.archive(dataset)
        messages.success(request, _("Rows and uploaded file are gone; profile and lineage stay."))
        return redirect(dataset)
    names = {"rows": dataset.row_count or 0, "rejected": dataset.rejected_rows.open().count()}
    return confirm(
        request,
        Confirmation(
            title=_("Archive %(dataset)s?") % {"dataset": dataset},
            consequences=[
                _("Its rows (%(rows)s), its rejected rows (%(rejected)s) and the uploaded file are deleted.") % names,
                _("No features can be built and no model can be trained or reproduced from it any more."),
                _("Profile, lineage and the models made of it stay."),
                _("It cannot be undone; the table can be loaded again."),
            ],
            submit=_("Archive %(dataset)s") % {"dataset": dataset},
            back=dataset.get_absolute_url(),
        ),
    )


def _changeable_source(request: HttpRequest, pk: int) -> Source:
    """Return the source; raises Http404, and Forbidden for a database unless the person is an administrator."""
    source = get_object_or_404(Source.objects.select_related("schedule__interval"), pk=pk)
    if not sources.may_change(source, scopes=scopes_of_request(request)):
        raise Forbidden
    return source


def _detail(request: HttpRequest, dataset: Dataset, corrected: CorrectedForm, *, status: int = 200) -> HttpResponse:
    references = Dataset.objects.succeeded().filter(profile__isnull=False).exclude(pk=dataset.pk)
    profile = dataset.compare_profiles(VERBOSE_NAMES, reference=chosen_reference(request.GET, references))
    context = {
        "job": dataset,
        "page": page(dataset.problems.all(), request, parameter="after", is_ascending=True, size=_PROBLEMS_PER_PAGE),
        "corrected": corrected,
        "profile": profile,
        "charts": profile_charts.charts(profile, in_words=_in_words),
        "references": references.only("pk")[:MOST_REFERENCES],
        "reasons": _reasons(dataset),
        "is_archivable": retention.is_archivable(dataset),
    }
    return render(request, "dataset_detail.html", context, status=status)


def _in_words(field: str, value: object) -> object:
    if field == LABEL:
        return LABEL_WORDS[bool(value)]
    return CHOICES.get(field, {}).get(value, value)


def _reasons(dataset: Dataset) -> list[profile_charts.Bar]:
    """Name the reasons of the dataset's rejections by column, with their counts."""
    rows = dataset.problems.by_reason() if dataset.problem_count else []
    counts: dict[str, float] = {}
    for column, code, count in rows:
        name = str(VERBOSE_NAMES.get(column, column) or _("Whole row"))
        counts[f"{name}: {reason(code)}"] = count
    return profile_charts.bars(counts)


def _list(request: HttpRequest, address: AddressForm, upload: UploadForm, *, status: int = 200) -> HttpResponse:
    context = {
        "page": page(Dataset.objects.select_related("source").defer("profile"), request),
        "sources": page_by_name(
            Source.objects.select_related("schedule__interval", "schedule__crontab"), request, parameter="sources"
        ),
        "address": address,
        "upload": upload,
        "inbox": local.inbox(),
    }
    return render(request, "dataset_list.html", context, status=status)


def _csv(name: str, rows: Iterable[Sequence[object]]) -> HttpResponse:
    disposition = content_disposition_header(as_attachment=True, filename=name)
    headers = {"Content-Disposition": disposition}
    return HttpResponse(csv_lines(rows), content_type="text/csv; charset=utf-8", headers=headers)
