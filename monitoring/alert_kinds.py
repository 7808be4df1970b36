"""The kinds of alerts: what each one's rule is when it is made, and what to do about an alert."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class Kind(models.TextChoices):
    """What an alert is about."""

    DRIFT = "drift", gettext_lazy("Drift")
    PERFORMANCE = "performance", gettext_lazy("Performance")
    NEW_DATA = "new data", gettext_lazy("New data")
    DATA_AGE = "data age", gettext_lazy("Old data")
    FAILED_JOB = "failed job", gettext_lazy("Failed job")
    OVERDUE = "overdue schedule", gettext_lazy("Overdue schedule")
    ERROR_RATE = "error rate", gettext_lazy("Failed requests")
    BACKLOG = "backlog", gettext_lazy("Backlog of the prediction log")
    NO_CHAMPION = "no champion", gettext_lazy("No champion")
    ARTIFACT = "artifact", gettext_lazy("Refused model file")
    UNREADY = "unready", gettext_lazy("Unavailable part")
    PARITY = "parity", gettext_lazy("Inconsistent channels")
    DEAD_LETTER = "dead letter", gettext_lazy("Rejected log entries")


class Severity(models.TextChoices):
    """How urgent an alert is."""

    INFO = "info", gettext_lazy("Info")
    WARNING = "warning", gettext_lazy("Warning")
    CRITICAL = "critical", gettext_lazy("Critical")


@dataclass(frozen=True)
class Default:
    """A kind's rule at first, the meaning of its threshold, and what a person does about an alert."""

    severity: Severity
    advice: "StrOrPromise"
    delay_seconds: int = 0
    threshold: float | None = None
    threshold_label: "StrOrPromise" = ""
    is_enabled: bool = True
    #: Whether its alerts may start a retraining, where an operator says so.
    may_retrain: bool = False


DEFAULTS = {
    Kind.DRIFT: Default(
        Severity.WARNING,
        gettext_lazy("Look at the drifted features, and at what sends the requests; retrain when the change is real."),
        may_retrain=True,
    ),
    Kind.PERFORMANCE: Default(
        Severity.WARNING,
        gettext_lazy("See the last performance check: by slice, by channel, and in time; retrain or roll back."),
        threshold=50,
        threshold_label=gettext_lazy("Fewest known outcomes that say something"),
        may_retrain=True,
    ),
    Kind.NEW_DATA: Default(
        Severity.INFO,
        gettext_lazy("Build features of the new table and train on them, or let this rule retrain."),
        threshold=100,
        threshold_label=gettext_lazy("Labelled rows that were loaded since the last training"),
        is_enabled=False,
        may_retrain=True,
    ),
    Kind.DATA_AGE: Default(
        Severity.WARNING,
        gettext_lazy("Check the source and its schedule, or load a newer table."),
        threshold=30,
        threshold_label=gettext_lazy("Days since the newest labelled table was loaded"),
    ),
    Kind.FAILED_JOB: Default(
        Severity.WARNING,
        gettext_lazy("Open the run: its error says what to correct. Then start it again."),
    ),
    Kind.OVERDUE: Default(
        Severity.WARNING,
        gettext_lazy("Check that the scheduler runs, and the schedule on its page."),
        # After a night, the scheduler takes a moment.
        delay_seconds=60,
        threshold=5,
        threshold_label=gettext_lazy("Minutes that a schedule may be late"),
    ),
    Kind.ERROR_RATE: Default(
        Severity.CRITICAL,
        gettext_lazy("The log names the error of each failed request."),
        threshold=0.05,
        threshold_label=gettext_lazy("Share (0 to 1) of the last minutes’ requests"),
    ),
    Kind.BACKLOG: Default(
        Severity.CRITICAL,
        gettext_lazy("Check PostgreSQL and the worker of the queue “fast”. Nothing is lost while Redis holds the log."),
        threshold=60,
        threshold_label=gettext_lazy("Seconds that the oldest prediction has waited"),
    ),
    Kind.NO_CHAMPION: Default(
        Severity.CRITICAL,
        gettext_lazy("Train a model and promote it, or roll back to an earlier one."),
        delay_seconds=30,
    ),
    Kind.ARTIFACT: Default(
        Severity.CRITICAL,
        gettext_lazy("Restore the file from a backup, or promote another version."),
    ),
    Kind.UNREADY: Default(
        Severity.CRITICAL,
        gettext_lazy("Check that the part runs, and its log."),
        # After a start, workers take a moment.
        delay_seconds=30,
    ),
    Kind.PARITY: Default(
        Severity.CRITICAL,
        gettext_lazy("See which channel differs on the monitoring page, and restart its processes."),
    ),
    Kind.DEAD_LETTER: Default(
        Severity.WARNING,
        gettext_lazy(
            "Correct the cause and store them again from the overview. The admin deletes them, at Dead letters."
        ),
    ),
}
