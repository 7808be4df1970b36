"""Fetching a table, checking it, loading it."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from core.errors import Conflict, TitanicError, file_too_large, to_api_error
from core.file_names import label
from core.jobs import OPEN_STATES
from core.postgres_copy import Copier
from core.prefetch import prefetch
from ingestion import split, transports
from ingestion.models import INGEST_OPTIONS, UNIQUE_CONTENT, Dataset, IngestOptions, Source
from ingestion.passenger import GROUP, LABEL
from ingestion.table import Chunk, TableError, read
from ingestion.transports.remote_object import RemoteObject

if TYPE_CHECKING:
    from ingestion.loading import Loader

#: A share of fewer rows says nothing.
FEWEST_ROWS_FOR_A_SHARE = 100
#: From where to where in the progress the transfer and the loading go; between them the hold-out is drawn.
_TRANSFER, _LOAD = (0.0, 0.2), (0.3, 1.0)


class Unchanged(Conflict):
    """The content is that of a dataset that is there."""

    code = "unchanged"


class DatasetRejected(TitanicError):
    """The contract refuses the table whole."""

    code = "refused"


def queue_ingest(*, uri: str, is_operator: bool = False, **options: Any) -> Dataset:
    """A queued ingest of what is at the address, on the given terms; of a prefix, its newest object."""
    transports.check(uri, is_operator=is_operator)
    if "://" not in uri:
        uri = transports.stat(uri, is_operator=is_operator)[-1].uri
    dataset = Dataset(uri=uri, name=_name_of(uri), is_operated=is_operator, **options)
    _check_options(dataset)
    dataset.save()
    return dataset


def queue_upload(*, file: "UploadedFile[Any]") -> Dataset:
    """A queued ingest of an uploaded file, kept in storage."""
    if (file.size or 0) > settings.LARGEST_UPLOAD:
        raise file_too_large()
    name = label(file.name) or "upload.csv"
    return Dataset.objects.create(uri=name, name=name, upload=file)


def queue_source(source: Source) -> Dataset:
    """A queued ingest of the newest object at a source, whether or not it is new: somebody asked for it."""
    draft = _draft(source, RemoteObject(source.uri, "", None))
    draft.is_repeat = True
    draft.save()
    return draft


def queue_changed(source: Source) -> Iterator[Dataset]:
    """Queued ingests of what is new at a source, oldest first, each queued when the one before is done with.

    A version of an object is taken once: what it costs is one call for metadata. A version that the contract refused is
    not tried again on the same terms.
    """
    for found in _stat_source(source):
        draft = _draft(source, found)
        if not _is_known(draft) and _has_saved(draft):
            yield draft


def ingest(dataset: Dataset) -> None:
    """Load the dataset's table: all of its good rows become visible at once, or none does."""
    with dataset.running():
        try:
            with _content(dataset) as file:
                _refuse_if_unchanged(dataset)
                _load(dataset, file)
        except TableError as error:
            _refuse(dataset, _(error.message) % error.params)
        except IntegrityError as error:
            if UNIQUE_CONTENT not in str(error):
                raise
            # Of two workers with the same content, the other was first.
            raise _unchanged(dataset) from error
        except (OSError, OperationalError, InterfaceError) as error:
            refusal = to_api_error(error)
            if refusal is None:
                raise
            raise refusal from error


def _stat_source(source: Source) -> list[RemoteObject]:
    """What is at the source; when that fails, the source's row says why."""
    error = ""
    try:
        return transports.stat(source.uri, is_operator=True)
    except transports.SourceError as failed:
        error = failed.message
        raise
    finally:
        Source.objects.filter(pk=source.pk).update(checked_at=Now(), error=error)


def _check_options(dataset: Dataset) -> None:
    for field in IngestOptions._meta.local_fields:
        try:
            field.run_validators(getattr(dataset, field.name))
        except ValidationError as error:
            raise TitanicError(" ".join(error.messages), field=field.name) from error


def _draft(source: Source, found: RemoteObject) -> Dataset:
    options = {name: getattr(source, name) for name in INGEST_OPTIONS}
    name = _name_of(found.uri) or source.name
    return Dataset(source=source, uri=found.uri, version=found.version, name=name, is_operated=True, **options)


def _is_known(draft: Dataset) -> bool:
    there = _same_object(draft)
    same_version = there.filter(version=draft.version) if draft.version else there.none()
    done = same_version.succeeded() | same_version.filter(is_refused=True)
    return bool(done.exists() or there.filter(state__in=OPEN_STATES, is_repeat=False).exists())


def _has_saved(draft: Dataset) -> bool:
    """Whether the row is ours: of two workers that see the same version, the database lets one have it."""
    try:
        with transaction.atomic():
            draft.save()
    except IntegrityError:
        return False
    return True


def _same_object(dataset: Dataset) -> Any:
    """All datasets of the same object, read on the same terms."""
    options = {name: getattr(dataset, name) for name in INGEST_OPTIONS}
    return Dataset.objects.filter(source=dataset.source, uri=dataset.uri, **options)


@contextmanager
def _content(dataset: Dataset) -> Iterator[IO[bytes]]:
    """The dataset's table as a file of its own that nobody changes, with version, size and checksum written down."""
    spool = settings.HOME / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    with dataset.upload.open("rb") if dataset.upload else tempfile.TemporaryFile(dir=spool) as file:
        if not dataset.upload:
            _fetch(dataset, file)
            file.seek(0)
        dataset.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        dataset.byte_count = file.tell()
        dataset.save(update_fields=["uri", "version", "sha256", "byte_count"])
        file.seek(0)
        yield file


def _fetch(dataset: Dataset, file: IO[bytes]) -> None:
    found = transports.stat(dataset.uri, is_operator=dataset.is_operated)[-1]

    def report(byte_count: int) -> None:
        dataset.report(_share_of(_TRANSFER, byte_count / max(found.byte_count or 0, byte_count, 1)))

    dataset.uri = found.uri
    dataset.version = transports.fetch(found, file, report=report, is_operator=dataset.is_operated)


def _refuse_if_unchanged(dataset: Dataset) -> None:
    if (
        dataset.source
        and not dataset.is_repeat
        and _same_object(dataset).succeeded().filter(sha256=dataset.sha256).exists()
    ):
        raise _unchanged(dataset)


def _unchanged(dataset: Dataset) -> Unchanged:
    there = _same_object(dataset).succeeded().filter(sha256=dataset.sha256)
    # The next look shall know this version without fetching it.
    there.update(version=dataset.version)
    return Unchanged(_("Nothing new: the content is that of %(dataset)s.") % {"dataset": there.first()})


def _load(dataset: Dataset, file: IO[bytes]) -> None:
    # Columns are a worker's tool: a second to import, and the web does without.
    from ingestion.loading import Loader

    held = _draw_holdout(dataset, file)
    with transaction.atomic(), Copier() as copier:
        loader = Loader(dataset, is_holdout=held, copier=copier)
        handled_count = 0
        for chunk in _chunks(dataset, file):
            loader.load(chunk)
            handled_count += chunk.row_count
            dataset.report(_share_of(_LOAD, file.tell() / max(dataset.byte_count or 0, 1)), count=handled_count)
        reason = _reason_to_refuse(dataset, loader)
        if reason:
            loader.discard()
        else:
            loader.finish()
            dataset.split = _split(loader) if dataset.has_label else None
        dataset.row_count = 0 if reason else loader.row_count
        dataset.problem_count, dataset.warning_count = loader.problem_count, loader.warning_count
        dataset.profile = loader.profile.result()
        dataset.save(update_fields=["row_count", "problem_count", "warning_count", "split", "profile"])
        if not reason:
            dataset.complete()
    if reason:
        _refuse(dataset, reason)


def _draw_holdout(dataset: Dataset, file: IO[bytes]) -> NDArray[np.bool_] | None:
    from ingestion.loading import draw_holdout

    if not dataset.has_label:
        return None
    needed = {"known": (LABEL, GROUP), "required": dataset.required_columns, "headings": dataset.headings}
    held = draw_holdout(prefetch(read(file, **needed, known_only=True)))
    dataset.report(_share_of(_LOAD, 0))
    file.seek(0)
    return held


def _chunks(dataset: Dataset, file: IO[bytes]) -> Iterator[Chunk]:
    known = [field.name for field in dataset.table_fields]
    return prefetch(read(file, known=known, required=dataset.required_columns, headings=dataset.headings))


def _split(loader: "Loader") -> dict[str, Any]:
    method = f"stratified, grouped by {GROUP}"
    train = loader.row_count - loader.holdout_count
    return {"method": method, "seed": split.SEED, "train": train, "holdout": loader.holdout_count}


def _reason_to_refuse(dataset: Dataset, loader: "Loader") -> str:
    """Why the table is refused whole, or nothing."""
    row_count = loader.row_count + loader.problem_count
    if not row_count:
        return _("The table has a header and no rows.")
    if not loader.row_count or loader.problem_count / row_count > dataset.largest_problem_share:
        message = _(
            "%(bad)s of %(all)s rows were refused, more than the allowed share of %(share)s. See the problems below."
        )
        share = f"{dataset.largest_problem_share:.0%}"
        return message % {"bad": loader.problem_count, "all": row_count, "share": share}
    if row_count < FEWEST_ROWS_FOR_A_SHARE:
        return ""
    for name, missing in loader.profile.missing_shares().items():
        # A column that can be worked out may be missing altogether.
        if missing > dataset.largest_missing_share and name in dataset.required_columns:
            message = _("%(share)s of the column %(name)s is missing, more than the allowed share of %(most)s.")
            return message % {"share": f"{missing:.0%}", "name": name, "most": f"{dataset.largest_missing_share:.0%}"}
    return ""


def _share_of(phase: tuple[float, float], done: float) -> float:
    begin, end = phase
    return begin + (end - begin) * done


def _refuse(dataset: Dataset, reason: str) -> None:
    dataset.is_refused = True
    dataset.save(update_fields=["is_refused"])
    raise DatasetRejected(reason)


def _name_of(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return label(uri)
    name = parts.fragment if parts.scheme.startswith("postgres") else PurePath(parts.path).name
    return label(name or parts.netloc or uri)
