"""What the commands that read a table have in common: options of the reading, and what is said of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.core.management.base import CommandParser, OutputWrapper

from ingestion.models import Read


def add_reading_arguments(parser: CommandParser) -> None:
    """Add the options of `ReadingOptions`."""
    parser.add_argument(
        "--heading", action="append", default=[], metavar="COLUMN=HEADING", help="another heading of a column"
    )
    parser.add_argument(
        "--marker", action="append", default=[], metavar="TEXT", help="a cell that means unknown, instead of the usual"
    )
    parser.add_argument(
        "--ignore-headings",
        action="store_true",
        help="do not fail where a heading is not known and a column is missing",
    )
    parser.add_argument(
        "--largest-problem-share", type=float, help="above this share of rejected rows (0 to 1) the job fails"
    )


def reading_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options as a job's fields."""
    pairs, share = options["heading"], options["largest_problem_share"]
    assert isinstance(pairs, list)
    return {
        "headings": dict(pair.partition("=")[::2] for pair in pairs),
        "markers": options["marker"],
        "ignores_headings": options["ignore_headings"],
        **({} if share is None else {"largest_problem_share": share}),
    }


@contextmanager
def told_reading(job: Read, err: OutputWrapper) -> Iterator[None]:
    """Write how the table was read, and the reasons of rejections, when the body is over."""
    try:
        yield
    finally:
        if (report := job.reading_report) is not None:
            for line in [*report.notes, *report.warnings, *report.reasons]:
                err.write(str(line))
