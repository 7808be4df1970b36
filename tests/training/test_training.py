"""Training, the gate and the registry."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from core.errors import Conflict, TitanicError
from features import services as features_services
from features.definition import FEATURES, SEX
from ingestion.models import Dataset
from tests.people import CAST, table
from training import card, registry, services
from training.artifact import Artifact, ArtifactError
from training.metrics import Verdict
from training.models import ModelVersion, Stage, StageChange, TrainingRun
from training.report import FIGURES
from training.training_data import Examples, GoldenRow


@pytest.fixture
def second(champion: ModelVersion) -> ModelVersion:
    """Another version of the same file, as a retraining on the same data makes it."""
    version = copy_of(champion, run=TrainingRun.objects.create(feature_batch=champion.feature_batch))
    version.version = 2
    version.save()
    return version


def copy_of(version: ModelVersion, *, run: TrainingRun) -> ModelVersion:
    """Another candidate of the same file, not saved."""
    fields = {field.name: getattr(version, field.name) for field in ModelVersion._meta.fields if field.name != "id"}
    return ModelVersion(**{**fields, "run": run, "stage": Stage.CANDIDATE})


def file_of(version: ModelVersion) -> bytes:
    with default_storage.open(version.onnx_file.name) as file:
        return bytes(file.read())


def test_cross_validation_does_not_look_at_the_hold_out(champion: ModelVersion) -> None:
    assert champion.evaluation.cross_validation.rows + champion.evaluation.hold_out.rows == 1309


def test_ungrouped_figures_look_better(champion: ModelVersion) -> None:
    metrics = champion.evaluation
    assert metrics.ungrouped.roc_auc.value > metrics.cross_validation.roc_auc.value


def test_a_version_records_what_it_was_trained_with(champion: ModelVersion) -> None:
    assert champion.feature_batch.checksum
    assert champion.made_with["scikit-learn"]
    assert champion.parameters["seed"] == 42


def test_the_file_is_named_by_what_is_in_it(champion: ModelVersion) -> None:
    assert champion.sha256 in champion.onnx_file.name
    assert hashlib.sha256(file_of(champion)).hexdigest() == champion.sha256


def test_the_same_batch_and_seed_give_the_same_file(champion: ModelVersion) -> None:
    again = services.queue_reproduction(version=champion)

    services.reproduce(again)

    assert (again.is_equal, again.sha256) == (True, champion.sha256)
    assert {difference["name"] for difference in again.differences} <= {"commit"}


def test_a_table_with_one_label_cannot_be_trained_from(load: Callable[..., Dataset], champion: ModelVersion) -> None:
    dataset = load(table(*CAST[:3] * 20), largest_problem_share=1)
    batch = features_services.queue_build(dataset=dataset)
    features_services.build(batch)
    run = services.queue_run(batch=batch)

    with pytest.raises(TitanicError, match="load more rows"):
        services.train(run)

    assert ModelVersion.objects.count() == 1


def test_only_a_built_batch_is_trained_from(champion: ModelVersion) -> None:
    batch = champion.feature_batch.rerun()

    with pytest.raises(Conflict, match="build it first"):
        services.queue_run(batch=batch)


@pytest.fixture
def plain_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table whose rows are independent, and that has no rule to beat."""
    monkeypatch.setattr(services, "GROUP", None)
    monkeypatch.setattr(services, "BASELINE", None)


def test_a_table_without_groups_and_rule_is_trained_from(
    champion: ModelVersion, plain_table: None, client: Client
) -> None:
    run = services.queue_run(batch=champion.feature_batch, algorithm="logistic_regression", candidates=0)

    services.train(run)

    version = ModelVersion.objects.get(run=run)
    metrics = version.evaluation
    assert (metrics.ungrouped, metrics.cross_validation.grouped_by, metrics.baseline) == (None, None, None)
    assert "better than the rule" not in [check.name for check in version.verdict.checks]
    page = client.get(version.get_absolute_url()).text
    assert not re.search("never split|rule to beat|Optimistic", page)
    assert not re.search("never split|Rule to beat|optimistic", card.markdown(version))


def test_the_api_gives_the_metrics_by_these_names(champion: ModelVersion, api: APIClient) -> None:
    version = api.get("/api/v1/models/1/").json()

    metrics = version["metrics"]
    estimate = {"mean", "spread", "low", "high"}
    assert metrics.keys() == {
        "cross_validation", "ungrouped", "hold_out", "baseline", "curves", "slices", "importance", "inputs",
        "calibration", "threshold", "search",
    }  # fmt: skip
    counts = {"folds", "repeats", "rows"}
    assert metrics["cross_validation"].keys() == {*FIGURES, *counts, "grouped_by"}
    assert metrics["ungrouped"].keys() == {*FIGURES, *counts}
    assert metrics["hold_out"].keys() == {*FIGURES, "rows", "intervals", "confusion"}
    assert {metrics["cross_validation"][name].keys() == estimate for name in FIGURES} == {True}
    assert {metrics["ungrouped"][name].keys() == {"mean", "spread"} for name in FIGURES} == {True}
    assert {len(metrics["hold_out"]["intervals"][name]) for name in FIGURES} == {2}
    assert metrics["hold_out"]["confusion"].keys() == {
        "true_negative", "false_positive", "false_negative", "true_positive",
    }  # fmt: skip
    for part in ("cross_validation", "hold_out"):
        curves, rows = metrics["curves"][part], metrics["slices"][part]
        assert {name: set(points) for name, points in curves.items()} == {
            "roc": {"x", "y"}, "precision_recall": {"x", "y"}, "calibration": {"x", "y", "count"},
        }  # fmt: skip
        assert rows[0].keys() == {"slice", "rows", "share", "predicted", "accuracy", "low", "high", "log_loss"}
    assert metrics["baseline"].keys() == {"accuracy"}
    assert metrics["importance"][0].keys() == {"feature", "mean", "spread"}
    assert metrics["inputs"]["Age"].keys() == {"values", "missing", "low", "high"}
    assert metrics["calibration"].keys() == {"chosen", "log_loss"}
    assert metrics["threshold"].keys() == {"value", "rule", "x", "y"}
    assert metrics["search"].keys() == {"candidates", "seconds", "trials"}
    assert metrics["search"]["trials"][0].keys() == {"parameters", "log_loss", "spread"}
    assert version["gate"].keys() == {"passed", "rows", "looks", "checks"}
    assert version["gate"]["checks"][0].keys() == {"name", "passed", "detail"}
    search = api.get(f"/api/v1/training-runs/{champion.run_id}/").json()["search"]
    assert (search.keys(), search["best"].keys()) == ({"tried", "of", "best"}, {"log_loss", "parameters"})


def test_the_gate_is_read_in_the_readers_language(champion: ModelVersion, api: APIClient, client: Client) -> None:
    language = {"accept-language": "es"}
    checks = api.get("/api/v1/models/1/", headers=language).json()["gate"]["checks"]
    page = client.get("/models/1/?tab=gate", headers=language).text

    details = {check["name"]: check["detail"] for check in checks}
    assert details["minimum accuracy"].endswith(", como mínimo 0,7.")
    assert "Segmento Sexo: mujer" in page
    assert details["slice Sex: female"] in page


def test_addresses_of_before_lead_to_the_champion_history(champion: ModelVersion, api: APIClient) -> None:
    for path in ("/models/", "/api/v1/models/"):
        answer = api.get(f"{path}reigns/?at=2026-01-01")

        assert (answer.status_code, answer["Location"]) == (301, f"{path}history/?at=2026-01-01")


class TestGate:
    """A worse model is not promoted by accident."""

    @pytest.fixture
    def examples(self, champion: ModelVersion) -> Examples:
        return services.examples_of(champion.feature_batch)

    def judge(self, champion: ModelVersion, examples: Examples, *, holdout: Examples) -> dict[str, str]:
        """Fit a candidate on spoilt examples, let it before the gate, and return what failed."""
        run = services.queue_run(batch=champion.feature_batch, algorithm="logistic_regression", candidates=0)
        with run.running():
            trained = services._fit(run.spec, examples, report=lambda _: None)
            registry.register(services._build_version(run, trained, seconds=0), holdout=holdout)
        assert ModelVersion.objects.champion() == champion
        verdict = ModelVersion.objects.get(run=run).verdict
        assert verdict is not None
        return {check.name: str(check.detail) for check in verdict.checks if not check.passed}

    def register_again(self, champion: ModelVersion, examples: Examples) -> ModelVersion:
        """The champion once more, as a training on the same examples with the same spec makes it."""
        run = services.queue_run(batch=champion.feature_batch)
        with run.running():
            registry.register(copy_of(champion, run=run), holdout=examples.holdout)
        return ModelVersion.objects.get(run=run)

    def test_an_equal_one_passes_and_is_promoted(self, champion: ModelVersion, examples: Examples) -> None:
        again = self.register_again(champion, examples)

        assert again.verdict is not None
        assert [check for check in again.verdict.checks if not check.passed] == []
        assert ModelVersion.objects.champion() == again
        assert again.verdict.holdout_uses == 2

    def test_one_with_shuffled_labels_fails(self, champion: ModelVersion, examples: Examples) -> None:
        labels = np.random.default_rng(0).permutation(examples.labels)

        failed = self.judge(champion, replace(examples, labels=labels), holdout=examples.holdout)

        assert {"minimum accuracy", "no worse than the champion", "slice Sex: female"} <= failed.keys()

    def test_one_with_a_broken_feature_fails(self, champion: ModelVersion, examples: Examples) -> None:
        matrix = examples.matrix.copy()
        matrix[:, FEATURES.index("Sex")] = 0

        failed = self.judge(champion, replace(examples, matrix=matrix), holdout=examples.holdout)

        assert "Sex" in failed["features alive"]

    @pytest.mark.parametrize("sex", SEX)
    def test_one_that_learned_from_one_sex_fails(self, champion: ModelVersion, examples: Examples, sex: str) -> None:
        is_known = (examples.matrix[:, FEATURES.index("Sex")] == SEX[sex]) | examples.is_holdout
        (other,) = SEX.keys() - {sex}

        failed = self.judge(champion, examples.take(is_known), holdout=examples.holdout)

        assert {"no worse than the champion", f"slice Sex: {other}"} <= failed.keys()

    def test_with_automatic_promotion_off_it_waits_for_a_person(
        self, champion: ModelVersion, examples: Examples, settings: Any
    ) -> None:
        settings.AUTO_PROMOTE = False

        again = self.register_again(champion, examples)

        assert again.verdict is not None
        assert (again.verdict.passed, again.stage) == (True, Stage.CANDIDATE)

    def test_old_s11_one_that_does_not_beat_the_rule_does_not(self, champion: ModelVersion, examples: Examples) -> None:
        champion.metrics = {**champion.metrics, "baseline": {"accuracy": 0.99}}

        verdict = registry.verdict(champion, None, holdout=examples.holdout)

        assert [check.name for check in verdict.checks if not check.passed] == ["better than the rule"]

    def test_the_verdict_is_on_the_champion_that_would_be_replaced(
        self, champion: ModelVersion, second: ModelVersion, examples: Examples, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judged = []

        def judge(version: ModelVersion, before: ModelVersion | None, *, holdout: Examples) -> Verdict:
            judged.append(before)
            if len(judged) == 1:
                registry.promote(second, by=None)
            return Verdict(passed=False, rows=0, holdout_uses=1, checks=[])

        monkeypatch.setattr(registry, "verdict", judge)
        self.register_again(champion, examples)

        assert judged == [champion, second]


class TestRegistry:
    """At most one champion, with a history and a way back."""

    def test_promoting_a_version_retires_the_old_champion(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.promote(second, by=None, reason="because")

        champion.refresh_from_db()
        assert (champion.stage, second.stage) == (Stage.RETIRED, Stage.CHAMPION)
        change = StageChange.objects.filter(version=second).get()
        assert (change.before, change.after, change.reason) == ("candidate", "champion", "because")

    def test_the_champion_is_not_promoted_again(self, champion: ModelVersion) -> None:
        with pytest.raises(Conflict, match="the champion already"):
            registry.promote(champion, by=None)

    def test_rolling_back_brings_the_one_before(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.promote(second, by=None)

        assert registry.rollback(by=None) == champion

    def test_rolling_back_an_older_model_that_was_put_back_returns_to_the_one_before_it(
        self, champion: ModelVersion, second: ModelVersion
    ) -> None:
        registry.promote(second, by=None)
        registry.promote(champion, by=None)

        assert registry.rollback(by=None) == second
        assert registry.rollback(by=None) == champion

    def test_a_reason_may_hold_anything(self, second: ModelVersion) -> None:
        registry.promote(second, by=None, reason="\0" + "x" * 1000)

        assert StageChange.objects.get(version=second).reason == "x" * 300

    def test_a_version_can_challenge_and_be_retired(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.start_shadow(second, by=None)
        assert list(ModelVersion.objects.challengers()) == [second]

        registry.retire(second, by=None, reason="too slow")

        second.refresh_from_db()
        assert second.stage == Stage.RETIRED
        with pytest.raises(Conflict, match="retired already"):
            registry.retire(second, by=None)
        with pytest.raises(Conflict, match="champion already"):
            registry.start_shadow(champion, by=None)
        with pytest.raises(Conflict, match="promote another version first"):
            registry.retire(champion, by=None)

    def test_which_version_was_champion_at_any_moment(self, champion: ModelVersion, second: ModelVersion) -> None:
        before = timezone.now() - timedelta(days=1)
        between = timezone.now()
        registry.promote(second, by=None, reason="newer")

        assert registry.champion_at(before) is None
        assert [registry.champion_at(moment).version for moment in (between, timezone.now())] == [champion, second]
        present, past = StageChange.objects.promotions()
        assert (present.until, past.until) == (None, present.at)
        assert present.reason == "newer"

    @pytest.mark.django_db(transaction=True)
    def test_of_two_who_promote_at_once_both_are_in_the_history(
        self, champion: ModelVersion, second: ModelVersion
    ) -> None:
        def promote(version: int) -> None:
            with suppress(Conflict):
                registry.promote(ModelVersion.objects.get(version=version), by=None)
            connection.close()

        threads = [Thread(target=promote, args=(version,)) for version in (1, 2) * 5]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        stages = list(ModelVersion.objects.order_by("version").values_list("stage", flat=True))
        assert sorted(stages) == [Stage.CHAMPION, Stage.RETIRED]
        assert StageChange.objects.promotions()[0].version == ModelVersion.objects.champion()

    def test_there_is_nothing_before_the_first(self, champion: ModelVersion) -> None:
        with pytest.raises(Conflict, match="no earlier champion"):
            registry.rollback(by=None)

    def test_rolling_back_twice_does_not_go_to_and_fro(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.promote(second, by=None)
        registry.rollback(by=None)

        with pytest.raises(Conflict, match="no earlier champion"):
            registry.rollback(by=None)


class TestCommands:
    """The registry's commands: one sentence, and an exit code that tells."""

    def test_stages_change(self, champion: ModelVersion, second: ModelVersion) -> None:
        sentences = [
            call_command("challenge", "2", reason="newer"),
            call_command("promote", "2"),
            call_command("rollback"),
            call_command("challenge", "2"),
            call_command("retire", "2"),
        ]

        assert sentences == [
            "Model 2 is now scoring in the shadow.", "Model 2 is the champion.", "Model 1 is the champion again.",
            "Model 2 is now scoring in the shadow.", "Model 2 is retired.",
        ]  # fmt: skip
        assert StageChange.objects.get(after=Stage.CHALLENGER, reason="newer").version == second

    @pytest.mark.parametrize("command", ["promote", "challenge", "retire", "reproduce"])
    def test_a_version_that_is_not_there_is_named(self, champion: ModelVersion, command: str) -> None:
        with pytest.raises(CommandError, match="There is no model 99"):
            call_command(command, "99")

    def test_it_is_said_what_a_version_made_again_differs_in(self, second: ModelVersion) -> None:
        second.run.algorithm, second.run.candidates = "logistic_regression", 0
        second.run.save()
        second.made_with["numpy"] = "0.1"
        second.save()

        with pytest.raises(CommandError, match=r"not reproduced.*numpy: 0\.1 →"):
            call_command("reproduce", "2")


class TestArtifact:
    """A file that is not what the registry says never serves."""

    @pytest.mark.parametrize("damage", [lambda data: data[:-10], lambda _: b"", lambda data: data + b"\0" * 70_000_000])
    def test_a_changed_file_is_refused(self, champion: ModelVersion, damage: Callable[[bytes], bytes]) -> None:
        with pytest.raises(ArtifactError):
            Artifact.load(damage(file_of(champion)), golden=champion.golden, sha256=champion.sha256)

    def test_a_missing_file_is_refused(self, second: ModelVersion) -> None:
        second.onnx_file.name = "models/gone.onnx"

        with pytest.raises(Conflict, match="cannot be promoted"):
            registry.promote(second, by=None)

    def test_a_file_with_other_answers_is_refused(self, champion: ModelVersion) -> None:
        golden = [GoldenRow(row, 1 - answer) for row, answer in champion.golden]

        with pytest.raises(ArtifactError, match="golden rows"):
            Artifact.load(file_of(champion), golden=golden)

    def test_a_file_with_outside_data_is_refused(self, champion: ModelVersion) -> None:
        model = onnx.load_model_from_string(file_of(champion))
        tensor = model.graph.initializer.add(name="secret", data_type=1, dims=[1])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

        with pytest.raises(ArtifactError):
            Artifact.load(model.SerializeToString(), golden=champion.golden)

    def test_a_file_with_other_operators_is_refused(self, champion: ModelVersion) -> None:
        model = onnx.load_model_from_string(file_of(champion))
        model.graph.node.append(onnx.helper.make_node("Abs", ["features"], ["unused"]))

        with pytest.raises(ArtifactError, match="Abs"):
            Artifact.load(model.SerializeToString(), golden=champion.golden)

    def test_a_model_of_another_definition_is_refused(self, champion: ModelVersion) -> None:
        champion.definition_version = "0"

        with pytest.raises(ArtifactError, match="definition 0"):
            registry.load(champion)

    def test_one_row_and_many_give_the_same_bits(self, champion: ModelVersion) -> None:
        artifact = registry.load(champion)
        matrix = features_services.matrix(champion.feature_batch)

        together = artifact.score(matrix)

        assert together.tobytes() == np.concatenate([artifact.score(row[None]) for row in matrix]).tobytes()


def test_a_damaged_file_in_storage_is_written_anew(db: None) -> None:
    from core import content_store

    name = content_store.store(b"model", suffix=".onnx")
    default_storage.delete(name)
    default_storage.save(name, ContentFile(b"mod"))

    assert content_store.store(b"model", suffix=".onnx") == name
    assert default_storage.size(name) == 5
