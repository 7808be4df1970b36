"""The model registry: the gate's verdict, stages, rollback, history, and loading."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from core import audit
from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict
from core.messages import Message
from core.models import Action
from features.definition import VERSION
from training import gate
from training.artifact import Artifact, ArtifactError
from training.metrics import Check, Verdict
from training.models import ModelVersion, Stage, StageChange
from training.training_data import Examples

LONGEST_REASON = 300
_ACTIONS = {Stage.CHAMPION: Action.PROMOTED, Stage.CHALLENGER: Action.SHADOW_STARTED, Stage.RETIRED: Action.RETIRED}


def load(version: ModelVersion) -> Artifact:
    """Load and check the version's graph; raises ArtifactError, or Unavailable while the storage is unavailable."""
    if version.definition_version != VERSION:
        message = Message("it reads features of definition %(definition)s, this is %(current)s")
        raise ArtifactError(message % {"definition": version.definition_version, "current": VERSION})
    try:
        with default_storage.open(str(version.onnx_file.name)) as file:
            data = file.read()
    except OSError as error:
        raise ArtifactError(Message("its file cannot be read: %(reason)s") % {"reason": error.strerror}) from error
    return Artifact.load(data, golden=version.golden, sha256=version.sha256)


def register(version: ModelVersion, *, holdout: Examples) -> None:
    """Register a version with the gate's verdict, promote it if it passed, and conclude its run: all or nothing.

    Raises ArtifactError when its own file must not serve, Cancelled when the run is not wanted any more.
    """
    while True:
        champion = ModelVersion.objects.champion()
        judged = verdict(version, champion, holdout=holdout)
        version.gate = msgspec.to_builtins(judged)
        with transaction.atomic():
            lock(AdvisoryLock.MODEL_STAGES)
            if ModelVersion.objects.champion() != champion:
                # Somebody else was promoted meanwhile: the verdict has to be on the one it replaces.
                continue
            version.version = (ModelVersion.objects.aggregate(last=Max("version"))["last"] or 0) + 1
            version.save()
            if judged.passed and settings.AUTO_PROMOTE:
                _make_champion(version, by=None, reason=gettext_noop("Passed all promotion checks."))
            version.run.complete()
            return


def verdict(version: ModelVersion, champion: ModelVersion | None, *, holdout: Examples) -> Verdict:
    """Judge a version against the champion; a champion whose file must not serve is left out of the comparison."""
    candidate = _contender(version, holdout)
    rival, without_rival = None, []
    if champion is not None:
        try:
            rival = _contender(champion, holdout)
        except ArtifactError as error:
            detail = Message("%(champion)s is not compared, for its file must not serve: %(reason)s") % {
                "champion": champion,
                "reason": error,
            }
            without_rival.append(Check("no worse than the champion", passed=True, detail=detail))
    checks = [*gate.judge(candidate, holdout=holdout, champion=rival), *without_rival]
    earlier = ModelVersion.objects.judged_on(version.feature_batch.dataset).exclude(pk=version.pk)
    return Verdict(
        passed=all(check.passed for check in checks),
        rows=len(holdout.labels),
        holdout_uses=earlier.count() + 1,
        checks=checks,
    )


def promote(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Promote a version and retire the champion before it; raises Conflict for a file that must not serve."""
    _check_file(version, _("%(version)s cannot be promoted: %(reason)s."))
    with _locked_stage(version):
        if version.stage == Stage.CHAMPION:
            raise Conflict(_("%(version)s is the champion already.") % {"version": version})
        _make_champion(version, by=by, reason=reason)


def rollback_target() -> ModelVersion:
    """Return the previous champion; raises Conflict where there is none."""
    before = _champions()[-2:-1]
    if not before:
        raise Conflict(_("There is no earlier champion to go back to."))
    return ModelVersion.objects.get(pk=before[0])


def rollback(*, by: User | None, reason: str = "", target: str = "") -> ModelVersion:
    """Promote the previous champion again; a second rollback goes one further back, not forth.

    Raises Conflict where a `target`, the number that a person has confirmed, is not the previous champion any more.
    """
    version = rollback_target()
    _check_file(version, _("%(version)s cannot be promoted: %(reason)s."))
    with _locked_stage(version):
        if _champions()[-2:-1] != [version.pk] or target not in ("", str(version.version)):
            raise Conflict(_("Another version was promoted a moment ago: look again."))
        _make_champion(version, by=by, reason=reason or gettext_noop("Rolled back."), is_rollback=True)
    return version


def start_shadow(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Let a version score in the shadow of the champion, on the same requests."""
    _check_file(version, _("%(version)s cannot score in the shadow: %(reason)s."))
    with _locked_stage(version):
        if version.stage not in (Stage.CANDIDATE, Stage.RETIRED):
            raise _already(version)
        _move(version, Stage.CHALLENGER, by=by, reason=reason)


def retire(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Retire a version; the champion is retired by promoting another one."""
    with _locked_stage(version):
        if version.stage == Stage.CHAMPION:
            raise Conflict(_("%(version)s is the champion: promote another version first.") % {"version": version})
        if version.stage == Stage.RETIRED:
            raise _already(version)
        _move(version, Stage.RETIRED, by=by, reason=reason)


def annotate(version: ModelVersion, *, tags: Sequence[str], notes: str) -> None:
    """Save what people note of a version."""
    earlier = ModelVersion.objects.only("tags", "notes").get(pk=version.pk)
    version.tags, version.notes = list(tags), notes
    with transaction.atomic():
        version.save(update_fields=["tags", "notes"])
        audit.record(
            Action.CHANGED,
            version,
            before={"tags": ", ".join(earlier.tags), "notes": earlier.notes},
            after={"tags": ", ".join(tags), "notes": notes},
        )


def champion_at(moment: datetime) -> StageChange | None:
    """Return the promotion that made the champion of a moment of the past, or None when there was none yet."""
    return StageChange.objects.promotions().filter(at__lte=moment).first()


def _champions() -> list[int]:
    """List the keys of the champions in the order in which rollbacks go back through them, the present one last."""
    champions: list[int] = []
    changes = StageChange.objects.filter(after=Stage.CHAMPION).order_by("at", "pk")
    for version_id, is_rollback in changes.values_list("version_id", "is_rollback"):
        if is_rollback:
            champions.pop()
        else:
            champions.append(version_id)
    return champions


def _contender(version: ModelVersion, holdout: Examples) -> gate.Contender:
    artifact = load(version)
    name = version.title if version.version else Message("the candidate")
    return gate.Contender(name, artifact, artifact.score(holdout.matrix), version.evaluation, version.byte_count)


def _check_file(version: ModelVersion, message: str) -> None:
    try:
        load(version)
    except ArtifactError as error:
        raise Conflict(message % {"version": version, "reason": error}) from error


@contextmanager
def _locked_stage(version: ModelVersion) -> Iterator[None]:
    """Hold the lock on stage changes, with the version's stage as it is now."""
    with transaction.atomic():
        lock(AdvisoryLock.MODEL_STAGES)
        version.refresh_from_db(fields=["stage"])
        yield


def _make_champion(version: ModelVersion, *, by: User | None, reason: str, is_rollback: bool = False) -> None:
    champion = ModelVersion.objects.champion()
    if champion is not None:
        _move(champion, Stage.RETIRED, by=by, reason=reason)
    _move(version, Stage.CHAMPION, by=by, reason=reason, is_rollback=is_rollback)


def _move(version: ModelVersion, stage: Stage, *, by: User | None, reason: str, is_rollback: bool = False) -> None:
    # Postgres takes no NUL in a text.
    reason = reason.replace("\0", "")[:LONGEST_REASON]
    StageChange.objects.create(
        version=version, before=version.stage, after=stage, by=by, reason=reason, is_rollback=is_rollback
    )
    action = Action.ROLLED_BACK if is_rollback else _ACTIONS[stage]
    audit.record(action, version, before={"stage": version.stage}, after={"stage": stage, "reason": reason})
    version.stage = stage
    version.save(update_fields=["stage"])


def _already(version: ModelVersion) -> Conflict:
    stage = version.get_stage_display().lower()
    return Conflict(_("%(version)s is %(stage)s already.") % {"version": version, "stage": stage})
