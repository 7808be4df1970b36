"""What the pages of runs show: durations as a picture, stages with their times, inputs and outputs, the verdict."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db.models import Model
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from core.charts import Chart, Series
from core.jobs import Job, State
from core.models import JobLogLine
from training.metrics import Verdict
from training.models import ModelVersion, TrainingRun

#: What a job is made of or leaves behind, beside its inputs, where it has such a field.
_OUTPUTS = (
    "row_count", "problem_count", "version", "definition_version", "checksum", "sha256", "model_version",
    "window_size", "outcome_count", "accuracy", "is_equal", "drifted",
)  # fmt: skip
_HIDDEN = frozenset({"upload", "created_by", "is_owned", "by_command"})


def durations(jobs: Sequence[Job]) -> Chart | None:
    """Draw how long the jobs took, by state and when they began; None where none has begun."""
    series = []
    for state in State:
        begun = [(job.started_at, job.duration) for job in reversed(jobs) if job.state == state]
        points = [(start, length.total_seconds()) for start, length in begun if start and length is not None]
        if points:
            starts, seconds = zip(*points, strict=True)
            series.append(Series(str(state.label), starts, seconds, is_marked=True, is_points=True))
    if not series:
        return None
    title = _("Duration of these runs in seconds, by state")
    summary = _("%(title)s over time; the table below has the figures.") % {"title": title}
    return Chart("durations", "times", title, summary, _("Time"), _("Seconds"), series, is_from_zero=True)


def stages(job: Job, lines: Iterable[JobLogLine]) -> list[tuple[str, datetime, timedelta]]:
    """Return each stage with its beginning and its length; the last one of a job that runs is not over yet."""
    begun = list(lines)
    over = job.finished_at or timezone.now()
    ends = [*(line.at for line in begun), over][1:]
    return [(_(line.text), line.at, max(end - line.at, timedelta(0))) for line, end in zip(begun, ends, strict=True)]


def facts(job: Job) -> list[tuple[str, str, list[tuple[str, object, str]]]]:
    """List inputs and outputs: name, value, and the page of what has one."""
    outputs = [name for name in _OUTPUTS if hasattr(type(job), name) and name not in job.inputs]
    groups = [
        ("inputs", _("Inputs"), job.audited_inputs),
        ("outputs", _("Outputs"), {name: getattr(job, name, None) for name in outputs}),
    ]
    labels = {"address": _("Address"), "version": _("Model")}
    labels |= {field.name: str(field.verbose_name) for field in job._meta.fields}
    described = []
    for key, title, values in groups:
        rows = []
        for name, value in values.items():
            if value in (None, "", {}, []) or name in _HIDDEN:
                continue
            display = getattr(job, f"get_{name}_display", None)
            url = value.get_absolute_url() if isinstance(value, Model) and hasattr(value, "get_absolute_url") else ""
            label = labels.get(name, name)
            rows.append((capfirst(label), display() if display else value, url))
        described.append((key, title, rows))
    return described


def verdict(job: Job) -> tuple[ModelVersion, Verdict | None] | None:
    """Return what came of a training: its version, and why the gate did or did not promote it."""
    version = ModelVersion.objects.filter(run=job).first() if isinstance(job, TrainingRun) else None
    return None if version is None else (version, version.verdict)
