"""Which version is in charge: the gate, promotion, the way back, and loading."""

from typing import Any

from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from features.definition import VERSION, Matrix
from titanic_site.lib.errors import Conflict
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion, Stage, StageChange

#: Promotions and version numbers are given out one at a time, under this advisory lock.
_LOCK = 4_104_001
#: Two models whose log loss on the hold-out differs by less (float32's rounding) are as good as each other.
LOG_LOSS_TOLERANCE = 1e-6


def next_version() -> int:
    """The next version's number; to be called in the transaction that uses it."""
    _lock()
    return (ModelVersion.objects.aggregate(last=Max("version"))["last"] or 0) + 1


def load(version: ModelVersion) -> Artifact:
    """The version's graph, checked; raises ArtifactError where it must not serve."""
    if version.definition_version != VERSION:
        raise ArtifactError(f"it reads features of definition {version.definition_version}, this is {VERSION}")
    try:
        with default_storage.open(str(version.onnx_file.name)) as file:
            data = file.read()
    except OSError as error:
        raise ArtifactError(f"its file cannot be read: {error.strerror}") from error
    return Artifact.load(data, golden=version.golden_rows, sha256=version.sha256)


def judge(candidate: ModelVersion, *, matrix: Matrix, labels: Any) -> None:
    """Write the gate's verdict on the candidate, and put it in charge when every check passed."""
    champion = ModelVersion.objects.champion()
    checks = [_beats_baseline(candidate)]
    if champion is not None:
        checks.append(_no_worse(champion, candidate, matrix=matrix, labels=labels))
    candidate.gate = {"passed": all(check["passed"] for check in checks), "checks": checks}
    candidate.save(update_fields=["gate"])
    if candidate.gate["passed"]:
        promote(candidate, by=None, reason="The gate found it at least as good.")


def promote(version: ModelVersion, *, by: User | None, reason: str = "") -> None:
    """Put a version in charge and retire the one before; a file that must not serve is refused."""
    try:
        load(version)
    except ArtifactError as error:
        message = _("%(version)s cannot take charge: %(reason)s.")
        raise Conflict(message % {"version": version, "reason": error}) from error
    with transaction.atomic():
        _lock()
        version.refresh_from_db(fields=["stage"])
        if version.stage == Stage.CHAMPION:
            raise Conflict(_("%(version)s is in charge already.") % {"version": version})
        champion = ModelVersion.objects.champion()
        if champion is not None:
            _move(champion, Stage.RETIRED, by=by, reason=reason)
        _move(version, Stage.CHAMPION, by=by, reason=reason)


def rollback(*, by: User | None) -> ModelVersion:
    """Put the champion before this one in charge again."""
    champion = ModelVersion.objects.champion()
    reigns = StageChange.objects.filter(after=Stage.CHAMPION).order_by("-pk").select_related("version")
    if champion is not None:
        # Back to the reign before the champion's own first one: twice back goes two steps, not to and fro.
        first = StageChange.objects.filter(after=Stage.CHAMPION, version=champion).order_by("pk")[0]
        reigns = reigns.filter(pk__lt=first.pk)
    before = reigns.first()
    if before is None:
        raise Conflict(_("There is no earlier champion to go back to."))
    promote(before.version, by=by, reason="Rolled back.")
    return before.version


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _move(version: ModelVersion, stage: Stage, *, by: User | None, reason: str) -> None:
    StageChange.objects.create(version=version, before=version.stage, after=stage, by=by, reason=reason)
    version.stage = stage
    version.save(update_fields=["stage"])


def _beats_baseline(candidate: ModelVersion) -> dict[str, Any]:
    ours = candidate.metrics["cross_validation"]["accuracy"]["mean"]
    rule = candidate.metrics["baseline"]["accuracy"]
    return {"name": "better than the rule", "passed": ours > rule, "detail": f"{ours:.3f} against {rule:.3f}"}


def _no_worse(champion: ModelVersion, candidate: ModelVersion, *, matrix: Matrix, labels: Any) -> dict[str, Any]:
    from training.evaluation import figures

    name = "no worse than the champion"
    ours = candidate.metrics["hold_out"]["log_loss"]
    try:
        theirs = figures(labels, load(champion).score(matrix), threshold=champion.threshold)["log_loss"]
    except ArtifactError as error:
        return {"name": name, "passed": True, "detail": f"{champion} cannot be loaded: {error}"}
    passed = ours <= theirs + LOG_LOSS_TOLERANCE
    return {"name": name, "passed": passed, "detail": f"log loss {ours:.4f} against {theirs:.4f} of {champion}"}
