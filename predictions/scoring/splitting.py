"""Split a job's file into parts of whole lines, and record what all parts have in common."""

import io
import tempfile
from collections.abc import Sequence
from typing import IO

from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from core.errors import TitanicError
from core.messages import Message as _
from ingestion.schema import FIELD_NAMES, FIELDS
from ingestion.table import Chunk, Part, read_part, split
from ingestion.validation_messages import table_errors
from predictions import explanation, scorer
from predictions.models import ScoringJob, ScoringPart

# A part to be explained has some hundred rows at most: so it takes seconds, as other parts do.
_EXPLAINED_BYTES = 1024
_REQUIRED = [field.name for field in FIELDS if field.is_required]


def split_file(job: ScoringJob) -> None:
    """Split the job's file into parts, decompressed; raises TitanicError when it is no table to score."""
    champion = scorer.champion()
    with job.upload.open("rb") as file, tempfile.TemporaryFile("w+b") as plain:
        with table_errors():
            size = _EXPLAINED_BYTES if job.is_explained else None
            header, parts = split(file, out=plain, known=FIELD_NAMES, required=_REQUIRED, size=size)
        if not parts:
            raise TitanicError(_("The table has a header and no rows."))
        if job.is_explained:
            explanation.load_explainer(champion.version)
            message = _("At most %(most)s rows are explained at a time: send fewer, or score them without explanation.")
            row_count = 0
            for part in parts:
                row_count += read_chunk(plain, header, part).row_count
                if row_count > explanation.MAX_ROWS:
                    raise TitanicError(message % {"most": explanation.MAX_ROWS})
        uploaded = upload = str(job.upload.name)
        plain_bytes = plain.seek(0, io.SEEK_END)
        if plain_bytes != job.upload.size:
            job.check_quota(plain_bytes - job.upload.size)
            upload = f"{uploaded}.csv"
            # A worker that was killed here may have left one.
            default_storage.delete(upload)
            plain.seek(0)
            upload = default_storage.save(upload, File(plain))
        job.upload_bytes = plain_bytes
    try:
        _record_parts(job, header, parts, champion=champion, upload=upload)
    except BaseException:
        if upload != uploaded:
            default_storage.delete(upload)
        raise
    if upload != uploaded:
        default_storage.delete(uploaded)
    # Its file is still open under the old name.
    job.refresh_from_db(fields=["upload"])


def read_chunk(file: IO[bytes], header: list[str], part: Part | ScoringPart) -> Chunk:
    """Read the rows of a part."""
    file.seek(part.start)
    data = file.read(part.end - part.start)
    with table_errors():
        return read_part(data, line=part.line, header=header, known=FIELD_NAMES, required=_REQUIRED)


def _record_parts(
    job: ScoringJob, header: list[str], parts: Sequence[Part], *, champion: scorer.Champion, upload: str
) -> None:
    """Record the parts, and the model, moment and header of all of them; raises Cancelled."""
    with transaction.atomic():
        job.lock_row()
        job.header, job.model_version, job.split_at = header, champion.version, timezone.now()
        job.upload.name = upload
        job.save(update_fields=["header", "model_version", "split_at", "upload", "upload_bytes"])
        ScoringPart.objects.bulk_create(
            ScoringPart(job=job, number=number, start=part.start, end=part.end, line=part.line)
            for number, part in enumerate(parts)
        )
