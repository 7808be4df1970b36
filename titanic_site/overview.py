"""How things stand: one sentence, what is in use at each stage of the life cycle, and what needs attention."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Sum, Value
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django_celery_beat.models import PeriodicTask

from core import moments
from core.jobs import Job, State, kinds
from core.numbers import localized, number
from core.roles import Scope, scopes_of_request
from features import category_labels
from features.models import FeatureBatch
from ingestion.models import Dataset
from monitoring import health
from monitoring.alert_kinds import Kind
from monitoring.models import Alert, DriftCheck, DriftWatch
from predictions import drift_state
from predictions.drift_state import DriftState
from predictions.models import DeadLetter, Prediction, PredictionCount
from titanic_site import job_list, schedules, timetables
from training.models import Algorithm, ModelVersion, TrainingRun

#: Schedules that run more often are the product's own housekeeping.
_SHORTEST_SHOWN = timedelta(hours=1)
_RUNS_SHOWN = 5
#: Of more open alerts the page of alerts shows the rest.
_ALERTS_SHOWN = 10
#: Alerts that the overview shows from their source, with the button that mends it.
_SHOWN_APART = frozenset({Kind.FAILED_JOB, Kind.DEAD_LETTER, Kind.UNREADY, Kind.NO_CHAMPION})
#: By kind of alert, the page on which it is mended.
_REMEDIES = {
    Kind.DRIFT: "train",
    Kind.PERFORMANCE: "train",
    Kind.NEW_DATA: "train",
    Kind.DATA_AGE: "datasets",
    Kind.OVERDUE: "schedules",
    Kind.ARTIFACT: "models",
    Kind.PARITY: "monitoring",
    Kind.ERROR_RATE: "monitoring",
    Kind.BACKLOG: "monitoring",
}


@dataclass(frozen=True)
class Fact:
    """A part of the sentence, with the page that tells more."""

    text: str
    url: str = ""
    is_problem: bool = False


@dataclass(frozen=True)
class Stage:
    """A stage of the life cycle: what is in use, the newest attempt where that is another, or what comes here."""

    title: str
    url: str
    label: str = ""
    state: str = ""
    subject: str = ""
    subject_url: str = ""
    details: str = ""
    attempt: Job | ModelVersion | None = None
    empty: str = ""


@dataclass(frozen=True)
class Problem:
    """What needs attention, since when, and what mends it: a page, a job to run again, or a form to post."""

    text: str
    url: str = ""
    label: str = ""
    remedy_url: str = ""
    job: Job | None = None
    post_url: str = ""
    since: datetime | None = None
    is_acknowledged: bool = False


class LatestJobs:
    """Of each kind the newest job that the request may see, and the last one where that failed."""

    def __init__(self, request: HttpRequest) -> None:
        """Look their keys and states up in one query; a job itself is fetched when it is shown."""
        heads = []
        for model in kinds():
            jobs = job_list.visible(model, request).order_by("-pk")
            ended = jobs.filter(state__in=(State.SUCCEEDED, State.FAILED))
            kind = Value(job_list.kind_of(model))
            heads += [rows.values_list(kind, "pk", "state")[:1] for rows in (jobs, ended)]
        self._states: dict[str, dict[int, str]] = {}
        for kind, pk, state in heads[0].union(*heads[1:], all=True):
            self._states.setdefault(kind, {})[pk] = state

    def newest(self, model: type[Job], *, other_than: Job | None) -> Job | None:
        """Return the newest of a kind, unless it is the one that is in use."""
        newest = max(self._states.get(job_list.kind_of(model), ()), default=None)
        in_use = other_than and other_than.pk
        return None if newest in (None, in_use) else model._default_manager.filter(pk=newest).first()

    def failed(self) -> list[tuple[type[Job], int]]:
        """Return the kind and key of the last job of each kind whose last one failed."""
        found = []
        for model in kinds():
            states = self._states.get(job_list.kind_of(model), {})
            ended = [pk for pk, state in states.items() if state in (State.SUCCEEDED, State.FAILED)]
            if ended and states[max(ended)] == State.FAILED:
                found.append((model, max(ended)))
        return found


def sentence(request: HttpRequest, champion: ModelVersion | None, *, latest: LatestJobs | None = None) -> list[Fact]:
    """Say how things stand, in parts; who may not read learns which model serves, and of drift."""
    may_read = Scope.READ in scopes_of_request(request)
    facts = [_champion(champion, may_read=may_read)]
    if champion is not None:
        facts.append(_drift(drift_state.current(), may_read=may_read))
    if may_read:
        kinds_open = Alert.objects.open().order_by().values_list("kind").annotate(Count("pk"))
        counts = Counter(dict(kinds_open))
        # Those of users raise no alert; the list of what needs attention has them too.
        del counts[Kind.FAILED_JOB]
        failed, others = len((latest or LatestJobs(request)).failed()), counts.total() - counts[Kind.DRIFT]
        if failed:
            text = ngettext("%(n)s failed job", "%(n)s failed jobs", failed) % {"n": failed}
            facts.append(Fact(text, f"{reverse('runs')}?state={State.FAILED}", is_problem=True))
        if others:
            text = ngettext("%(n)s open alert", "%(n)s open alerts", others) % {"n": others}
            facts.append(Fact(text, reverse("alerts"), is_problem=True))
        if not counts and not failed:
            facts.append(Fact(_("no open alerts"), reverse("alerts")))
    return facts


def stages(champion: ModelVersion | None, latest: LatestJobs) -> list[Stage]:
    """Describe the six stages: what is in use beside the newest attempt; a failed upload does not hide what serves."""
    run = champion.run if champion else TrainingRun.objects.succeeded().first()
    batch = run.feature_batch if run else FeatureBatch.objects.succeeded().first()
    dataset = batch.dataset if batch else Dataset.objects.labelled().first()
    label, state = (_("In use"), "passed") if champion else (_("Ready"), "none")
    jobs: list[tuple[str, str, Job | None, Job | None, str, str]] = [
        (
            _("Dataset"), "datasets", dataset, latest.newest(Dataset, other_than=dataset),
            _("%(rows)s rows") % {"rows": number(dataset.row_count or 0)} if dataset else "",
            _("A table is loaded and validated here: a sample lies ready."),
        ),
        (
            _("Features"), "features", batch, latest.newest(FeatureBatch, other_than=batch), "",
            _("Features are derived here from the rows of a dataset, by one definition."),
        ),
        (
            _("Training"), "runs", run, latest.newest(TrainingRun, other_than=run),
            str(Algorithm(run.algorithm).label) if run else "",
            _("A model is fitted here, measured and judged by the gate."),
        ),
    ]  # fmt: skip
    return [
        *(
            Stage(
                title, reverse(name), label, state, str(job) if job else "", job.get_absolute_url() if job else "",
                details, newest, empty,
            )
            for title, name, job, newest, details, empty in jobs
        ),
        _champion_stage(champion),
        _predictions_stage(),
        _watch_stage(),
    ]  # fmt: skip


def problems(champion: ModelVersion | None, latest: LatestJobs) -> Iterator[Problem]:
    """Find what needs attention: parts that are unavailable, failed jobs, rejected log entries, and open alerts."""
    for name, answer in health.report()["checks"].items():
        if answer != health.OK and name != "champion":
            yield Problem(f"{name}: {answer}", label=_("Monitoring"), remedy_url=reverse("monitoring"))
    if champion is None:
        yield Problem(
            _("No model is serving yet."), reverse("models"), _("Run the next step"), post_url=reverse("pipeline")
        )
    for model, pk in latest.failed():
        for last in model._default_manager.filter(pk=pk):
            yield Problem(f"{last}: {last.error}", last.get_absolute_url(), job=last, since=last.finished_at)
    if count := DeadLetter.objects.count():
        text = ngettext(
            "%(n)s entry of the prediction log was rejected by PostgreSQL.",
            "%(n)s entries of the prediction log were rejected by PostgreSQL.",
            count,
        ) % {"n": count}
        yield Problem(text, label=_("Store again"), post_url=reverse("retry_dead_letters"))
    labels = {
        "train": _("Train a model"),
        "datasets": _("Datasets"),
        "schedules": _("Schedules"),
        "models": _("Models"),
        "monitoring": _("Monitoring"),
    }
    alerts = list(Alert.objects.open().exclude(kind__in=_SHOWN_APART)[: _ALERTS_SHOWN + 1])
    for alert in alerts[:_ALERTS_SHOWN]:
        remedy = _REMEDIES.get(Kind(alert.kind)) if alert.kind in Kind.values else None
        yield Problem(
            f"{alert.title}: {alert.message}",
            alert.get_absolute_url(),
            labels[remedy] if remedy else "",
            reverse(remedy) if remedy else "",
            since=alert.raised_at,
            is_acknowledged=alert.acknowledged_at is not None,
        )
    if len(alerts) > _ALERTS_SHOWN:
        yield Problem(_("More alerts are open."), label=_("Alerts"), remedy_url=reverse("alerts"))


def next_runs() -> list[tuple[str, datetime]]:
    """Return the schedules that are due next, with their moments; not those that run every few minutes."""
    tasks = PeriodicTask.objects.filter(enabled=True).select_related("interval", "crontab", "solar", "clocked")
    now, due = timezone.now(), []
    for task in tasks:
        if task.interval and task.interval.schedule.run_every < _SHORTEST_SHOWN:
            continue
        due += [(task, moment) for moment in timetables.next_runs(task, now=now, count=1)]
    first = sorted(due, key=lambda run: run[1])[:_RUNS_SHOWN]
    labels = schedules.labels([task for task, _moment in first])
    return [(labels[task.pk].name, moment) for task, moment in first]


def _champion(champion: ModelVersion | None, *, may_read: bool) -> Fact:
    if champion is None:
        return Fact(_("No model is serving yet"), is_problem=True)
    text = _("%(model)s is serving, AUC %(auc)s") % {"model": champion, "auc": _auc(champion)}
    return Fact(text, champion.get_absolute_url() if may_read else "")


def _drift(watch: DriftState, *, may_read: bool) -> Fact:
    url = reverse("drift_checks") if may_read else ""
    if watch.state == "calm":
        return Fact(_("no drift"), url)
    if watch.state != "drift":
        return Fact(_("too few predictions yet to tell drift"), url)
    since = watch.since
    is_today = since is not None and timezone.localdate(since) == timezone.localdate()
    form = "time zone" if is_today else "zone"
    text = _("drift in %(features)s since %(since)s")
    return Fact(
        text % {"features": category_labels.labels(watch.features), "since": moments.shown(since, form)},
        url,
        is_problem=True,
    )


def _champion_stage(champion: ModelVersion | None) -> Stage:
    newest = ModelVersion.objects.first()
    attempt = newest if newest != champion else None
    empty = _("The model that passes the gate serves predictions here.")
    if champion is None:
        return Stage(_("Champion"), reverse("models"), attempt=attempt, empty=empty)
    return Stage(
        _("Champion"), reverse("models"), _("Serving"), "champion", str(champion), champion.get_absolute_url(),
        _("AUC %(auc)s") % {"auc": _auc(champion)}, attempt,
    )  # fmt: skip


def _auc(champion: ModelVersion) -> str:
    return localized(f"{champion.evaluation.cross_validation.roc_auc.value:.3f}")


def _predictions_stage() -> Stage:
    url, last = reverse("predictions"), Prediction.objects.first()
    if last is None:
        return Stage(_("Predictions"), url, empty=_("Each request and its answer are logged here."))
    count = PredictionCount.objects.aggregate(all=Sum("count", default=0))["all"]
    return Stage(
        _("Predictions"), url, _("Logged"), "passed", _("%(count)s predictions") % {"count": number(count)}, url,
        _("last %(when)s") % {"when": moments.shown(last.created_at, "zone")},
    )  # fmt: skip


def _watch_stage() -> Stage:
    url, watch, check = reverse("drift_checks"), DriftWatch.objects.of_champion(), DriftCheck.objects.routine().first()
    attempt = check if check is not None and check.state != State.SUCCEEDED else None
    if watch is None:
        empty = _("Live inputs are compared here with the training data.")
        return Stage(_("Drift"), url, attempt=attempt, empty=empty)
    state = {"drift": "drifted", "calm": "passed"}.get(watch.state, "waiting")
    details = category_labels.labels(watch.exceeding) if watch.state == "drift" else ""
    label = str(watch.get_state_display())
    return Stage(_("Drift"), url, label, state, _("Drift watch"), url, details, attempt)
