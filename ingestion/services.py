"""Fetching a table, checking it, loading it."""

import hashlib
from pathlib import PurePath
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.translation import gettext as _

from ingestion import sources
from ingestion.loading import Loader
from ingestion.models import Dataset, Source
from ingestion.table import TableError, read
from titanic_site.lib.errors import TitanicError, TooLarge

DEFAULT_SOURCE = "default"


def default_source() -> Source:
    """The source that SOURCE_URI names; made when missing, never overwritten."""
    return Source.objects.get_or_create(name=DEFAULT_SOURCE, defaults={"uri": settings.ENV.source_uri})[0]


def queue_ingest(*, uri: str, is_operator: bool = False) -> Dataset:
    """A queued ingest of the file at `uri`; only an operator at the shell may name any path."""
    path = sources.existing_path(uri) if is_operator else sources.allowed_path(uri)
    return Dataset.objects.create(uri=str(path), name=path.name)


def queue_upload(*, file: "UploadedFile[Any]") -> Dataset:
    """A queued ingest of an uploaded file, kept in storage."""
    if (file.size or 0) > settings.LARGEST_UPLOAD:
        most = settings.LARGEST_UPLOAD // 1024**2
        raise TooLarge(_("The file is larger than %(most)s MB. Split it.") % {"most": most}, field="file")
    name = PurePath(file.name or "upload.csv").name[-200:]
    return Dataset.objects.create(uri=name, name=name, upload=file)


def queue_changed(source: Source) -> Dataset | None:
    """A queued ingest of a source whose content is new, or None: each version of a file is taken once."""
    draft = Dataset(
        source=source,
        uri=str(sources.existing_path(source.uri)),
        name=source.name,
        has_label=source.has_label,
        largest_problem_share=source.largest_problem_share,
    )
    with sources.opened(draft) as file:
        sha256 = _sha256(file)
    if Dataset.objects.succeeded().filter(source=source, sha256=sha256).exists():
        return None
    draft.save()
    return draft


def ingest(dataset: Dataset) -> None:
    """Load the dataset's table: all of its good rows become visible at once, or none does."""
    with dataset.running(), sources.opened(dataset) as file:
        dataset.sha256, dataset.byte_count = _sha256(file), file.tell()
        file.seek(0)
        try:
            loader = _load(dataset, file)
        except TableError as error:
            raise TitanicError(_(error.message) % error.params) from error
        _refuse_too_many_problems(dataset, loader)


def _load(dataset: Dataset, file: IO[bytes]) -> Loader:
    loader = Loader(dataset)
    with transaction.atomic():
        for chunk in read(file, known=loader.known, required=loader.required):
            loader.load(chunk)
            dataset.report(chunk.bytes_read / max(dataset.byte_count or 1, 1))
        dataset.row_count, dataset.problem_count = loader.row_count, loader.problem_count
        if _is_acceptable(dataset, loader):
            dataset.split = loader.split()
        else:
            # The problems stay, so that a person can see what to mend; the rows do not.
            dataset.passengers.all().delete()
            dataset.row_count = 0
        dataset.hold()
        dataset.save(update_fields=["sha256", "byte_count", "row_count", "problem_count", "split"])
    return loader


def _is_acceptable(dataset: Dataset, loader: Loader) -> bool:
    share = loader.problem_count / max(loader.row_count + loader.problem_count, 1)
    return loader.row_count > 0 and share <= dataset.largest_problem_share


def _refuse_too_many_problems(dataset: Dataset, loader: Loader) -> None:
    if _is_acceptable(dataset, loader):
        return
    if not loader.problem_count:
        raise TitanicError(_("The table has a header and no rows."))
    message = _(
        "%(bad)s of %(all)s rows were refused, more than the allowed share of %(share)s. See the problems below."
    )
    counts = {"bad": loader.problem_count, "all": loader.row_count + loader.problem_count}
    raise TitanicError(message % {**counts, "share": f"{dataset.largest_problem_share:.0%}"})


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(1024 * 1024):
        digest.update(block)
    return digest.hexdigest()
