"""The results of a scoring job: one stored file for each part, and a header in front of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import PurePath

import polars as pl
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Sum

from core.csv_injection import escape_row
from ingestion.headings import column_name
from predictions.models import ScoringJob
from predictions.scoring.chunks import ERROR, answer_columns


def results(job: ScoringJob) -> Iterator[bytes]:
    """Read the results of a job that succeeded, as CSV, piece by piece."""
    yield _header(job)
    for part in job.parts.order_by("number").iterator():
        with part.results.open("rb") as file:
            yield from iter(partial(file.read, 2**20), b"")


def result_bytes(job: ScoringJob) -> int:
    """Return the length of the results."""
    total: int = job.parts.aggregate(total=Sum("result_bytes"))["total"] or 0
    return len(_header(job)) + total


def are_results_stored(job: ScoringJob) -> bool:
    """Tell whether storage still has the results of all parts."""
    try:
        names = set(default_storage.listdir(_folder(job.pk))[1])
    except FileNotFoundError:
        return False
    return _names(job) <= names


def store(job: ScoringJob, number: int, text: bytes) -> str:
    """Store a part's results and return the name of the file."""
    return default_storage.save(f"{_folder(job.pk)}/{number}.csv", ContentFile(text))


def delete_leftovers(job: ScoringJob) -> None:
    """Delete the files of workers that were stopped before their part was done."""
    folder = _folder(job.pk)
    for name in set(default_storage.listdir(folder)[1]) - _names(job):
        default_storage.delete(f"{folder}/{name}")


def delete_results(job_id: int) -> None:
    """Delete all results of a job, and their folder."""
    folder = _folder(job_id)
    with suppress(FileNotFoundError):
        for name in default_storage.listdir(folder)[1]:
            default_storage.delete(f"{folder}/{name}")
        default_storage.delete(folder)


def input_headings(header: Sequence[str], added: Iterable[str]) -> list[str]:
    """Tell the input's columns from those that are added: one of the same name is written with `input_` before it.

    >>> input_headings(["Name", "Prediction ID", "input_prediction_id"], ["prediction_id"])
    ['Name', 'input_input_Prediction ID', 'input_prediction_id']
    """
    added_names = {column_name(name) for name in added}
    taken = added_names | {column_name(heading) for heading in header}
    headings = []
    for heading in header:
        name = heading
        while column_name(heading) in added_names and column_name(name) in taken:
            name = f"input_{name}"
        taken.add(column_name(name))
        headings.append(name)
    return headings


def csv_lines(rows: pl.DataFrame) -> bytes:
    """Write rows as CSV without a header."""
    return rows.write_csv(include_header=False).encode()


def _header(job: ScoringJob) -> bytes:
    assert job.header is not None
    added = [*answer_columns(is_explained=job.is_explained), ERROR]
    return csv_lines(pl.DataFrame([escape_row([*input_headings(job.header, added), *added])], orient="row"))


def _folder(job_id: int) -> str:
    return f"scoring/results/{job_id}"


def _names(job: ScoringJob) -> set[str]:
    """The file names, within the job's folder, of its parts' results."""
    return {PurePath(name).name for name in job.parts.values_list("results", flat=True)}
