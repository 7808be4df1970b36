"""Queue ingests, and load a dataset's table: fetch, validate, split, copy."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Model, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from core.errors import Conflict, TitanicError, to_api_error
from core.file_names import label, upload_label
from core.jobs import OPEN_STATES, State
from core.messages import Message
from core.messages import Message as _
from core.postgres_copy import Copier
from core.prefetch import prefetch
from ingestion import headings, reading, transports
from ingestion.formats import NewFile, TableError
from ingestion.models import INGEST_OPTIONS, UNIQUE_CONTENT, Dataset, DatasetQuerySet, IngestOptions, Source
from ingestion.passenger import DERIVABLE, GROUP, KEY, LABEL
from ingestion.reading import Reading
from ingestion.schema import FIELD_NAMES, KNOWN_HEADINGS
from ingestion.table import Table, open_table
from ingestion.transports import RemoteObject
from ingestion.validation_messages import table_errors

if TYPE_CHECKING:
    from ingestion.loading import Loader
    from ingestion.profile import ColumnProfile

#: Below this number of rows the share of missing values says nothing.
MIN_ROWS_FOR_MISSING_SHARE = 100
# Progress when the table is fetched, and when its hold-out is drawn.
_FETCHED, _DRAWN = 0.2, 0.3


class Unchanged(Conflict):
    """The content is that of a dataset that was loaded already."""

    code = "unchanged"


class DatasetRejected(TitanicError):
    """The whole table was rejected."""

    code = "rejected"


def queue_ingest(*, uri: str, by_command: bool = False, **options: object) -> Dataset:
    """Queue an ingest from an address, of a prefix the newest object; `options` are fields of `IngestOptions`."""
    uri = transports.check(uri, any_file=by_command, databases=by_command)
    dataset = Dataset(uri=uri, name=_name_of(uri), by_command=by_command, **options)
    validate_options(dataset, IngestOptions)
    return dataset.queue_new()


def validate_options(job: Model, options: type[Model]) -> None:
    """Validate the fields of `options` on a job that is not saved yet; raises TitanicError with the field."""
    for field in options._meta.local_fields:
        try:
            field.run_validators(getattr(job, field.name))
        except ValidationError as error:
            raise TitanicError(" ".join(error.messages), field=field.name) from error


def queue_upload(*, file: "UploadedFile[bytes]", by: User | None, **options: object) -> Dataset:
    """Store an uploaded file and queue its ingest; `options` are fields of `IngestOptions`. Raises TitanicError."""
    name = upload_label(file)
    dataset = Dataset(uri=name, name=name, upload=file, created_by=by, **options)
    validate_options(dataset, IngestOptions)
    with dataset.storing():
        return dataset.queue_new()


def queue_source(source: Source) -> Dataset:
    """Queue an ingest of the newest object at a source, even one that was loaded before."""
    dataset = _dataset_of(source, RemoteObject(source.uri, "", None))
    dataset.is_forced = True
    return dataset.queue_new()


def queue_changed(source: Source) -> Iterator[Dataset]:
    """Queue an ingest of each new object at a source, oldest first, each when the one before is done.

    Each version of an object is fetched once: to find nothing new costs one call for metadata. A version that was
    rejected is not tried again with the same options.
    """
    try:
        remote_objects = transports.stat(source.uri, databases=True)
    except transports.SourceError as error:
        Source.objects.filter(pk=source.pk).update(checked_at=Now(), error=error.message)
        raise
    Source.objects.filter(pk=source.pk).update(checked_at=Now(), error="")
    for remote in remote_objects:
        dataset = _dataset_of(source, remote)
        is_known = Q(state__in=OPEN_STATES, is_forced=False)
        if dataset.version:
            is_known |= Q(version=dataset.version) & (Q(state=State.SUCCEEDED) | Q(is_rejected=True))
        if _same_object(dataset).filter(is_known).exists():
            continue
        try:
            dataset.queue_new()
        except IntegrityError:
            # Another worker has queued this version.
            continue
        yield dataset


def ingest(dataset: Dataset) -> None:
    """Load the dataset's table: all of its valid rows become visible at once, or none does."""
    with dataset.running():
        try:
            with table_errors(kind=DatasetRejected), _content(dataset) as file:
                if dataset.source and not dataset.is_forced and _same_content(dataset).exists():
                    raise _unchanged(dataset)
                _load(dataset, file)
        except DatasetRejected:
            dataset.is_rejected = True
            dataset.save(update_fields=["is_rejected"])
            raise
        except IntegrityError as error:
            if UNIQUE_CONTENT not in str(error):
                raise
            # Another worker was first to load the same content.
            raise _unchanged(dataset) from error
        except (OSError, OperationalError, InterfaceError) as error:
            api_error = to_api_error(error)
            if api_error is None:
                raise
            raise api_error from error


def _dataset_of(source: Source, remote: RemoteObject) -> Dataset:
    """Make the unsaved dataset of a source's object."""
    options = {name: getattr(source, name) for name in INGEST_OPTIONS}
    name = _name_of(remote.uri) or source.name
    return Dataset(source=source, uri=remote.uri, version=remote.version, name=name, **options)


def _same_object(dataset: Dataset) -> DatasetQuerySet:
    """Find the datasets of the same object that were read with the same options."""
    options = {name: getattr(dataset, name) for name in INGEST_OPTIONS}
    return Dataset.objects.filter(source=dataset.source, uri=dataset.uri, **options)


def _same_content(dataset: Dataset) -> DatasetQuerySet:
    return _same_object(dataset).succeeded().filter(sha256=dataset.sha256)


def _unchanged(dataset: Dataset) -> Unchanged:
    """Record the version with the dataset that has this content, so that it is not fetched again; return the error."""
    same = _same_content(dataset)
    same.update(version=dataset.version)
    return Unchanged(_("Nothing new: the content is that of %(dataset)s.") % {"dataset": same.first()})


@contextmanager
def _content(dataset: Dataset) -> Iterator[IO[bytes]]:
    """Open the dataset's table as a file that nobody else changes; record its version, size and checksum."""
    spool = settings.HOME / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    dataset.begin_stage(gettext_noop("Fetch the table"))
    with dataset.upload.open("rb") if dataset.upload else tempfile.TemporaryFile(dir=spool) as file:
        if not dataset.upload:
            any_file = dataset.by_command
            # A source in a database was saved by an administrator.
            databases = dataset.by_command or dataset.source_id is not None
            remote = transports.stat(dataset.uri, any_file=any_file, databases=databases)[-1]

            def report(byte_count: int) -> None:
                dataset.report(_FETCHED * byte_count / max(remote.byte_count or 0, byte_count, 1))

            dataset.uri = remote.uri
            dataset.version = transports.fetch(remote, file, report=report, any_file=any_file, databases=databases)
            file.seek(0)
        dataset.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        dataset.byte_count = file.tell()
        dataset.save(update_fields=["uri", "version", "sha256", "byte_count"])
        file.seek(0)
        yield file


def _load(dataset: Dataset, file: IO[bytes]) -> None:
    """Load the file's rows in one transaction and complete the dataset; raises DatasetRejected."""
    # polars takes a second to import, and the web does without it.
    from ingestion.loading import Loader, draw_holdout

    spool = settings.HOME / "spool"
    with ExitStack() as stack:
        # open_table closes it.
        new_file: NewFile = lambda: tempfile.TemporaryFile(dir=spool)  # noqa: E731, SIM115
        table = stack.enter_context(open_table(file, known=dataset.table_fields, new_file=new_file))
        report = _match(dataset, table)
        is_holdout = None
        if dataset.has_label:
            dataset.begin_stage(gettext_noop("Draw the hold-out"))
            chunks = table.chunks(report.layout, only=[LABEL, *([GROUP] if GROUP else [])])
            is_holdout = draw_holdout(prefetch(chunks), markers=dataset.markers)
            dataset.report(_DRAWN)
        dataset.begin_stage(gettext_noop("Validate and load the rows"))
        stack.enter_context(transaction.atomic())
        copier = stack.enter_context(Copier())
        loader = Loader(dataset, reading=report, is_holdout=is_holdout, copier=copier)
        handled_count = 0
        for chunk in prefetch(table.chunks(report.layout)):
            loader.load(chunk)
            handled_count += chunk.row_count
            dataset.report(_DRAWN + (1 - _DRAWN) * table.progress, count=handled_count)
        dataset.reading = loader.report()
        dataset.profile = profile = loader.profile()
        reason = _reason_to_reject(dataset, loader, profile)
        if reason:
            loader.discard()
        else:
            loader.attach()
            dataset.split = loader.split() if dataset.has_label else None
        dataset.row_count = 0 if reason else loader.row_count
        dataset.problem_count, dataset.warning_count = loader.problem_count, loader.warning_count
        dataset.save(update_fields=["row_count", "problem_count", "warning_count", "split", "profile", "reading"])
        if not reason:
            dataset.complete()
    if reason:
        raise DatasetRejected(reason)


def _match(dataset: Dataset, table: Table) -> Reading:
    """Find the columns of the table's fields, and begin the record of how it is read; raises TableError."""
    fields = dataset.table_fields
    found = headings.match(table.header, fields, given=dataset.headings, ignored=KNOWN_HEADINGS)
    if dataset.has_label and LABEL in found.missing:
        message = gettext_noop(
            "The table has no column %(label)s. Say so when you load it, if it has no label; else name the column’s "
            "heading. Its headings are %(headings)s."
        )
        raise TableError(message, label=LABEL, headings=found.quoted(table.header))
    expected = [name for name in FIELD_NAMES if name not in DERIVABLE]
    headings.check(found, required=dataset.required_columns, expected=expected, ignores_others=dataset.ignores_headings)
    report = reading.of_table(table, found, fields, may_lack=(KEY, *DERIVABLE))
    if GROUP in found.missing and dataset.has_label:
        report.ungrouped = GROUP
    return report


def _reason_to_reject(dataset: Dataset, loader: "Loader", profile: "Mapping[str, ColumnProfile]") -> Message:
    """Say why the whole table is rejected; empty where it is not."""
    row_count = loader.row_count + loader.problem_count
    rejection = dataset.rejection(rejected_count=loader.problem_count, row_count=row_count)
    rejection = rejection or loader.reading.other_codes(loader.fields, row_count=row_count)
    if rejection or row_count < MIN_ROWS_FOR_MISSING_SHARE:
        return rejection
    for name, column in profile.items():
        missing = column["missing"] / max(column["count"], 1)
        # A derivable column may be missing altogether.
        if missing > dataset.largest_missing_share and name not in DERIVABLE:
            message = _("%(share)s%% of the column %(name)s is missing, more than the allowed share of %(most)s%%.")
            shares = {"share": round(100 * missing), "most": round(100 * dataset.largest_missing_share, 2)}
            return message % {"name": name, **shares}
    return Message()


def _name_of(uri: str) -> str:
    """Name a dataset by the last part of its address."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return label(uri)
    name = parts.fragment if parts.scheme.startswith("postgres") else PurePath(parts.path).name
    return label(name or parts.netloc or uri)
