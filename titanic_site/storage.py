"""What grows: how much of it there is, for how long it is kept, and since when. Of long tables no row is counted."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection, models
from django.template.defaultfilters import filesizeformat
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.jobs import kept_files, kinds
from core.models import AuditEntry, JobLogLine
from ingestion.models import Passenger, RejectedRow, RowProblem
from monitoring.history import KEPT
from monitoring.models import Alert, LiveFigures
from predictions.models import DeadLetter, Outcome, Prediction, ScoringJob, ScoringPart, ShadowScore


@dataclass(frozen=True)
class Usage:
    """A table or a folder: its rows or files, its bytes, how long it is kept, and when its oldest row was made."""

    name: str
    count: int | None
    byte_count: int
    kept: str
    oldest_at: datetime | None = None


def tables() -> list[Usage]:
    """Estimate the tables that grow, largest first; PostgreSQL's count is that of its last ANALYZE, or none."""
    for_ever, with_job, with_dataset = _("for ever"), _("as long as its job"), _("until its dataset is archived")
    months = settings.PREDICTIONS_KEPT_MONTHS
    listed: list[tuple[type[models.Model], str | None, str]] = [
        (
            Prediction,
            "created_at",
            ngettext("%(n)s month", "%(n)s months", months) % {"n": months} if months else for_ever,
        ),
        (Outcome, None, for_ever),
        (ShadowScore, "created_at", _days(settings.SHADOW_SCORES_KEPT_DAYS)),
        (DeadLetter, "created_at", _days(settings.DEAD_LETTERS_KEPT_DAYS)),
        (AuditEntry, "at", _days(settings.AUDIT_KEPT_DAYS)),
        (Alert, "raised_at", _days(settings.ALERTS_KEPT_DAYS)),
        (JobLogLine, "at", _days(settings.JOBS_KEPT_DAYS)),
        (LiveFigures, "at", _days(KEPT.days)),
        (ScoringPart, None, with_job),
        (Passenger, None, with_dataset),
        (RejectedRow, None, with_dataset),
        (RowProblem, None, for_ever),
    ]
    jobs = _days(settings.JOBS_KEPT_DAYS)
    jobs = _("%(days)s, unless in use") % {"days": jobs} if settings.JOBS_KEPT_DAYS else jobs
    scoring = _days(settings.SCORING_KEPT_DAYS)
    listed += [(model, "created_at", scoring if model is ScoringJob else jobs) for model in kinds()]
    sizes = _sizes([model._meta.db_table for model, _field, _kept in listed])
    # The row with the lowest key: the key's index finds it.
    heads = [
        model._default_manager.order_by("pk").values_list(models.Value(model._meta.db_table), field)[:1]
        for model, field, _kept in listed
        if field
    ]
    oldest: dict[str, datetime] = dict(heads[0].union(*heads[1:], all=True))
    usages = []
    for model, _field, kept in listed:
        name = model._meta.db_table
        usages.append(Usage(capfirst(str(model._meta.verbose_name_plural)), *sizes[name], kept, oldest.get(name)))
    return sorted(usages, key=lambda usage: -usage.byte_count)


def folders() -> list[Usage]:
    """Measure the folders that grow on this machine, largest first; a bucket is not measured."""
    artifacts = [] if settings.ARTIFACT_BUCKET else sorted(Path(settings.MEDIA_ROOT).glob("*/"))
    kept = {"scoring": _days(settings.SCORING_KEPT_DAYS), "logs": _days(settings.LOG_KEPT_DAYS)}
    usages = []
    for folder in [*artifacts, settings.HOME / "logs"]:
        sizes = _file_sizes(folder)
        usages.append(Usage(f"{folder.name}/", len(sizes), sum(sizes), kept.get(folder.name, _("for ever"))))
    return sorted(usages, key=lambda usage: -usage.byte_count)


def uploads() -> list[Usage]:
    """Sum up the uploaded files that are kept: first all of them, then each user's, largest first, with the limits."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for files in kept_files():
        owners = files.values_list("created_by__username").annotate(models.Count("pk"), models.Sum("upload_bytes"))
        for name, count, byte_count in owners:
            owner = name or _("anonymous or deleted users")
            counts[owner] += count
            sizes[owner] += byte_count
    most_files, most_bytes, most_in_all = (
        settings.UPLOADS_PER_USER, settings.UPLOAD_BYTES_PER_USER, settings.UPLOAD_BYTES_IN_ALL,
    )  # fmt: skip
    in_words = [ngettext("%(count)s file", "%(count)s files", most_files) % {"count": most_files}] if most_files else []
    in_words += [filesizeformat(most_bytes)] if most_bytes else []
    limit = ", ".join(in_words) or _("unlimited")
    limit_in_all = filesizeformat(most_in_all) if most_in_all else _("unlimited")
    total = Usage(_("All"), counts.total(), sizes.total(), limit_in_all)
    return [total, *(Usage(owner, counts[owner], size, limit) for owner, size in sizes.most_common())]


def _days(days: int) -> str:
    return ngettext("%(n)s day", "%(n)s days", days) % {"n": days} if days else _("for ever")


def _sizes(names: list[str]) -> dict[str, tuple[int | None, int]]:
    """Estimate rows, and measure bytes with indexes, of each table with its partitions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sum(reltuples) FILTER (WHERE reltuples >= 0), sum(pg_total_relation_size(c.oid))"
            "  FROM unnest(%s) AS name JOIN pg_class c ON c.relkind = 'r' AND (c.oid = name::regclass"
            "       OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = name::regclass))"
            " GROUP BY name",
            [names],
        )
        sizes = {name: (None if rows is None else int(rows), int(size)) for name, rows, size in cursor.fetchall()}
    # A partitioned table without partitions has no storage.
    return {name: sizes.get(name, (0, 0)) for name in names}


def _file_sizes(folder: Path) -> list[int]:
    sizes = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                sizes.append(path.stat().st_size)
        except OSError:
            # It was deleted meanwhile.
            continue
    return sizes
