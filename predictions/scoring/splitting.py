"""Split a job's file into parts of whole lines, and record what all parts have in common."""

import io
import tempfile
from collections.abc import Sequence
from typing import IO

import msgspec
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from core.errors import TitanicError
from core.messages import Message as _
from features.definition import INPUTS
from ingestion import headings, reading
from ingestion.reading import Reading
from ingestion.schema import FIELDS, KNOWN_HEADINGS
from ingestion.table import Chunk, Layout, Part, Table, open_table, read_part
from ingestion.validation_messages import table_errors
from predictions import explanation, scorer
from predictions.models import ScoringJob, ScoringPart

# A part to be explained has some hundred rows at most: so it takes seconds, as other parts do.
_EXPLAINED_BYTES = 1024
_REQUIRED = [field.name for field in FIELDS if field.is_required]


def split_file(job: ScoringJob) -> None:
    """Split the job's file into parts, decompressed; raises TitanicError when it is no table to score."""
    champion = scorer.champion()
    if _split_as_before(job, champion):
        return
    with job.upload.open("rb") as file, tempfile.TemporaryFile("w+b") as plain:
        with table_errors(), open_table(file, known=FIELDS) as table:
            report = _match(job, table)
            is_rewritten = table.file is not file
            parts = table.split(plain, size=_EXPLAINED_BYTES if job.is_explained else None)
        if not parts:
            raise TitanicError(_("The table has a header and no rows."))
        if job.is_explained:
            explanation.load_explainer(champion.version)
            message = _("At most %(most)s rows are explained at a time: send fewer, or score them without explanation.")
            row_count = 0
            for part in parts:
                row_count += read_chunk(plain, report.layout, part).row_count
                if row_count > explanation.MAX_ROWS:
                    raise TitanicError(message % {"most": explanation.MAX_ROWS})
        uploaded = upload = str(job.upload.name)
        plain_bytes = plain.seek(0, io.SEEK_END)
        if is_rewritten or plain_bytes != job.upload.size:
            job.check_quota(plain_bytes - job.upload.size)
            upload = f"{uploaded}.csv"
            # A worker that was killed here may have left one.
            default_storage.delete(upload)
            plain.seek(0)
            upload = default_storage.save(upload, File(plain))
        job.upload_bytes = plain_bytes
    try:
        _record_parts(job, report, parts, champion=champion, upload=upload)
    except BaseException:
        if upload != uploaded:
            default_storage.delete(upload)
        raise
    if upload != uploaded:
        default_storage.delete(uploaded)
    # Its file is still open under the old name.
    job.refresh_from_db(fields=["upload"])


def _split_as_before(job: ScoringJob, champion: scorer.Champion) -> bool:
    """Take over the parts of the run that is repeated: its file may be the CSV that it made of a workbook."""
    runs = ScoringJob.objects.filter(upload=str(job.upload.name))
    earlier = None if job.repeats_id is None else runs.filter(pk=job.repeats_id).first()
    if earlier is None or earlier.reading_report is None:
        return False
    if job.is_explained:
        explanation.load_explainer(champion.version)
    report = msgspec.structs.replace(earlier.reading_report, spelt=[], rejected=[], choices={})
    parts = [Part(part.start, part.end, part.line) for part in earlier.parts.order_by("number")]
    _record_parts(job, report, parts, champion=champion, upload=str(job.upload.name))
    return True


def read_chunk(file: IO[bytes], layout: Layout, part: Part | ScoringPart) -> Chunk:
    """Read the rows of a part."""
    file.seek(part.start)
    data = file.read(part.end - part.start)
    with table_errors():
        return read_part(data, layout, line=part.line)


def _match(job: ScoringJob, table: Table) -> Reading:
    """Find the columns of the fields, and begin the record of how the file is read; raises TableError."""
    found = headings.match(table.header, FIELDS, given=job.headings, ignored=KNOWN_HEADINGS)
    # Of the fields that make one input, one is enough; what is no input changes no answer.
    expected = [names[-1] for names in INPUTS.values() if not set(names) & set(found.columns)]
    headings.check(found, required=_REQUIRED, expected=expected, ignores_others=job.ignores_headings)
    unused = {field.name for field in FIELDS} - {name for names in INPUTS.values() for name in names}
    derived = {name for names in INPUTS.values() if set(names) & set(found.columns) for name in names}
    return reading.of_table(table, found, FIELDS, may_lack=unused | derived)


def _record_parts(
    job: ScoringJob, report: Reading, parts: Sequence[Part], *, champion: scorer.Champion, upload: str
) -> None:
    """Record the parts, and the model, moment and header of all of them; raises Cancelled."""
    with transaction.atomic():
        job.lock_row()
        job.header, job.model_version, job.split_at = report.header, champion.version, timezone.now()
        job.reading = reading.to_json(report)
        job.upload.name = upload
        job.save(update_fields=["header", "reading", "model_version", "split_at", "upload", "upload_bytes"])
        ScoringPart.objects.bulk_create(
            ScoringPart(job=job, number=number, start=part.start, end=part.end, line=part.line)
            for number, part in enumerate(parts)
        )
