"""Which version is in charge: the gate's verdict, stages, the way back, and loading."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from core.errors import Conflict
from features.definition import VERSION
from training import gate
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion, Stage, StageChange
from training.training_data import Examples

#: Stages change and version numbers are given out one at a time, under this advisory lock.
_LOCK = 4_104_001
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Reign:
    """A time in which one version was in charge; until None for the present one."""

    version: ModelVersion
    since: datetime
    until: datetime | None
    by: User | None
    reason: str


def load(version: ModelVersion) -> Artifact:
    """The version's graph, checked; raises ArtifactError where it must not serve, Unavailable where nobody can tell."""
    if version.definition_version != VERSION:
        raise ArtifactError(f"it reads features of definition {version.definition_version}, this is {VERSION}")
    try:
        with default_storage.open(str(version.onnx_file.name)) as file:
            data = file.read()
    except OSError as error:
        raise ArtifactError(f"its file cannot be read: {error.strerror}") from error
    return Artifact.load(data, golden=version.golden_rows, sha256=version.sha256)


def admit(version: ModelVersion, *, held: Examples) -> None:
    """Register a version with the gate's verdict, put it in charge if it passed, and conclude its run: all or nothing.

    Raises ArtifactError when its own file must not serve, Cancelled when the run is not wanted any more.
    """
    while True:
        champion = ModelVersion.objects.champion()
        version.gate = verdict(version, champion, held=held)
        with transaction.atomic():
            _lock()
            if ModelVersion.objects.champion() != champion:
                # Somebody else was promoted meanwhile: the verdict has to be on the one it replaces.
                continue
            version.version = (ModelVersion.objects.aggregate(last=Max("version"))["last"] or 0) + 1
            version.save()
            if version.gate["passed"] and settings.AUTO_PROMOTE:
                _put_in_charge(version, by=None, reason=_("The gate found it at least as good."))
            version.run.complete()
            return


def verdict(version: ModelVersion, champion: ModelVersion | None, *, held: Examples) -> dict[str, Any]:
    """What the gate says of a version: every check, and how often this hold-out has been looked at."""
    candidate = _contender(version, held)
    before, unable = None, []
    if champion is not None:
        try:
            before = _contender(champion, held)
        except ArtifactError as error:
            unable.append(gate.Check("no worse than the champion", passed=True, detail=f"{champion}: {error}"))
    checks = [*gate.judge(candidate, held=held, champion=before), *unable]
    looks = ModelVersion.objects.judged_on(version.feature_batch.dataset).exclude(pk=version.pk).count() + 1
    passed = all(check.passed for check in checks)
    return {"passed": passed, "looks": looks, "rows": len(held.labels), "checks": [asdict(check) for check in checks]}


def promote(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Put a version in charge and retire the one before; a file that must not serve is refused."""
    _check_file(version, _("%(version)s cannot take charge: %(reason)s."))
    with _moving(version):
        if version.stage == Stage.CHAMPION:
            raise Conflict(_("%(version)s is in charge already.") % {"version": version})
        _put_in_charge(version, by=by, reason=reason)


def rollback(*, by: User | None, reason: str = "") -> ModelVersion:
    """Put the champion before this one in charge again; twice back goes two steps, not to and fro."""
    before = _champions()[-2:-1]
    if not before:
        raise Conflict(_("There is no earlier champion to go back to."))
    version = before[0]
    _check_file(version, _("%(version)s cannot take charge: %(reason)s."))
    with _moving(version):
        if _champions()[-2:-1] != before:
            raise Conflict(_("Another version was put in charge a moment ago: look again."))
        _put_in_charge(version, by=by, reason=reason or _("Rolled back."), is_rollback=True)
    return version


def challenge(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Let a version score in the shadow of the champion, on what it is asked."""
    _check_file(version, _("%(version)s cannot score in the shadow: %(reason)s."))
    with _moving(version):
        if version.stage not in (Stage.CANDIDATE, Stage.RETIRED):
            raise Conflict(_("%(version)s is %(stage)s already.") % _said(version))
        _move(version, Stage.CHALLENGER, by=by, reason=reason)


def retire(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Take a version out of the running; the champion is retired by putting another one in charge."""
    with _moving(version):
        if version.stage == Stage.CHAMPION:
            raise Conflict(_("%(version)s is in charge: put another one in charge first.") % {"version": version})
        if version.stage == Stage.RETIRED:
            raise Conflict(_("%(version)s is %(stage)s already.") % _said(version))
        _move(version, Stage.RETIRED, by=by, reason=reason)


def reigns() -> list[Reign]:
    """Who was in charge when, the present one first."""
    found: list[Reign] = []
    for change in _changes().order_by("-at", "-pk"):
        until = found[-1].since if found else None
        found.append(Reign(change.version, change.at, until, change.by, change.reason))
    return found


def champion_at(moment: datetime) -> Reign | None:
    """The reign at a moment of the past, or None when nobody was in charge yet."""
    return next((reign for reign in reigns() if reign.since <= moment), None)


def _changes() -> Any:
    return StageChange.objects.filter(after=Stage.CHAMPION).select_related("version", "by")


def _champions() -> list[ModelVersion]:
    """The champions that a way back leads through, the present one last."""
    found: list[ModelVersion] = []
    for change in _changes().order_by("at", "pk"):
        if change.is_rollback:
            found.pop()
        else:
            found.append(change.version)
    return found


def _contender(version: ModelVersion, held: Examples) -> gate.Contender:
    artifact = load(version)
    name = str(version) if version.version else _("the candidate")
    return gate.Contender(name, artifact, artifact.score(held.matrix), version.metrics, version.byte_count)


def _check_file(version: ModelVersion, message: str) -> None:
    try:
        load(version)
    except ArtifactError as error:
        raise Conflict(message % {"version": version, "reason": error}) from error


@contextmanager
def _moving(version: ModelVersion) -> Iterator[None]:
    """The version's stage as it stands, and nobody else who changes one."""
    with transaction.atomic():
        _lock()
        version.refresh_from_db(fields=["stage"])
        yield


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _put_in_charge(version: ModelVersion, *, by: User | None, reason: str, is_rollback: bool = False) -> None:
    champion = ModelVersion.objects.champion()
    if champion is not None:
        _move(champion, Stage.RETIRED, by=by, reason=reason)
    _move(version, Stage.CHAMPION, by=by, reason=reason, is_rollback=is_rollback)


def _move(version: ModelVersion, stage: Stage, *, by: User | None, reason: str, is_rollback: bool = False) -> None:
    # Postgres takes no NUL in a text.
    said = reason.replace("\0", "")[:_LONGEST_REASON]
    StageChange.objects.create(
        version=version, before=version.stage, after=stage, by=by, reason=said, is_rollback=is_rollback
    )
    version.stage = stage
    version.save(update_fields=["stage"])


def _said(version: ModelVersion) -> dict[str, Any]:
    return {"version": version, "stage": version.get_stage_display().lower()}
