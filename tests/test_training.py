"""Training, the gate and the registry."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from features import services as features_services
from ingestion.models import Dataset
from tests.people import CAST, table
from titanic_site.lib.errors import Conflict, TitanicError
from training import registry, services
from training.artifact import Artifact, ArtifactError
from training.models import ModelVersion, Stage, StageChange, TrainingRun


@pytest.fixture
def second(champion: ModelVersion) -> ModelVersion:
    """Another version of the same file, as a retraining on the same data makes it."""
    run = TrainingRun.objects.create(feature_batch=champion.feature_batch)
    fields = {field.name: getattr(champion, field.name) for field in ModelVersion._meta.fields if field.name != "id"}
    return ModelVersion.objects.create(**{**fields, "version": 2, "run": run, "stage": Stage.CANDIDATE})


def file_of(version: ModelVersion) -> bytes:
    with default_storage.open(version.onnx_file.name) as file:
        return bytes(file.read())


def test_the_champion_is_as_good_as_promised(champion: ModelVersion) -> None:
    found = champion.metrics["cross_validation"]

    assert (found["folds"], found["repeats"], found["grouped_by"]) == (5, 5, "ticket")
    assert found["accuracy"]["mean"] >= 0.805
    assert found["roc_auc"]["mean"] >= 0.84
    assert found["brier"]["mean"] <= 0.145
    assert 0 < found["accuracy"]["spread"] < 0.02


def test_it_is_written_down_what_the_model_stands_on(champion: ModelVersion) -> None:
    assert champion.feature_batch.checksum
    assert champion.made_with["scikit-learn"]
    assert champion.parameters["seed"] == 42


def test_the_file_is_named_by_what_is_in_it(champion: ModelVersion) -> None:
    assert champion.sha256 in champion.onnx_file.name
    assert hashlib.sha256(file_of(champion)).hexdigest() == champion.sha256


def test_the_same_batch_and_seed_give_the_same_file(champion: ModelVersion) -> None:
    run = services.queue_run(batch=champion.feature_batch)
    services.train(run)

    again = ModelVersion.objects.get(run=run)
    assert again.sha256 == champion.sha256
    assert again.gate["passed"]


def test_a_table_with_one_fate_cannot_be_learned_from(load: Callable[..., Dataset], champion: ModelVersion) -> None:
    dataset = load(table(*CAST[:3] * 20), largest_problem_share=1)
    batch = features_services.queue_build(dataset=dataset)
    features_services.build(batch)
    run = services.queue_run(batch=batch)

    with pytest.raises(TitanicError, match="load more passengers"):
        services.train(run)

    assert ModelVersion.objects.count() == 1


def test_only_a_built_batch_is_trained_from(champion: ModelVersion) -> None:
    batch = champion.feature_batch.successor()

    with pytest.raises(Conflict, match="build it first"):
        services.queue_run(batch=batch)


class TestGate:
    """A worse model does not take charge by accident."""

    def judge(self, candidate: ModelVersion, **metrics: Any) -> dict[str, Any]:
        candidate.metrics = {**candidate.metrics, **metrics}
        examples = services.examples_of(candidate.feature_batch)
        held = examples.is_holdout
        registry.judge(candidate, matrix=examples.matrix[held], labels=examples.labels[held])
        assert candidate.gate is not None
        return {check["name"]: check["passed"] for check in candidate.gate["checks"]}

    def test_an_equal_one_passes_and_takes_charge(self, second: ModelVersion) -> None:
        assert all(self.judge(second).values())
        assert ModelVersion.objects.champion() == second

    def test_one_that_is_worse_on_the_hold_out_does_not(self, champion: ModelVersion, second: ModelVersion) -> None:
        verdict = self.judge(second, hold_out={**champion.metrics["hold_out"], "log_loss": 0.6})

        assert verdict == {"better than the rule": True, "no worse than the champion": False}
        assert ModelVersion.objects.champion() == champion

    def test_old_s11_one_that_does_not_beat_the_rule_does_not(
        self, champion: ModelVersion, second: ModelVersion
    ) -> None:
        figures = {**champion.metrics["cross_validation"], "accuracy": {"mean": 0.77, "spread": 0}}

        assert not self.judge(second, cross_validation=figures)["better than the rule"]
        assert ModelVersion.objects.champion() == champion


class TestRegistry:
    """At most one champion, with a history and a way back."""

    def test_promoting_a_version_retires_the_old_champion(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.promote(second, by=None, reason="because")

        champion.refresh_from_db()
        assert (champion.stage, second.stage) == (Stage.RETIRED, Stage.CHAMPION)
        change = StageChange.objects.filter(version=second).get()
        assert (change.before, change.after, change.reason) == ("candidate", "champion", "because")

    def test_the_champion_is_not_promoted_again(self, champion: ModelVersion) -> None:
        with pytest.raises(Conflict, match="in charge already"):
            registry.promote(champion, by=None)

    def test_rolling_back_brings_the_one_before(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.promote(second, by=None)

        assert registry.rollback(by=None) == champion

    def test_there_is_nothing_before_the_first(self, champion: ModelVersion) -> None:
        with pytest.raises(Conflict, match="no earlier champion"):
            registry.rollback(by=None)

    def test_rolling_back_twice_does_not_go_to_and_fro(self, champion: ModelVersion, second: ModelVersion) -> None:
        registry.promote(second, by=None)
        registry.rollback(by=None)

        with pytest.raises(Conflict, match="no earlier champion"):
            registry.rollback(by=None)


class TestArtifact:
    """A file that is not what the registry says never serves."""

    @pytest.mark.parametrize("damage", [lambda data: data[:-10], lambda _: b"", lambda data: data + b"\0" * 70_000_000])
    def test_a_changed_file_is_refused(self, champion: ModelVersion, damage: Callable[[bytes], bytes]) -> None:
        with pytest.raises(ArtifactError):
            Artifact.load(damage(file_of(champion)), golden=champion.golden_rows, sha256=champion.sha256)

    def test_a_missing_file_is_refused(self, second: ModelVersion) -> None:
        second.onnx_file.name = "models/gone.onnx"

        with pytest.raises(Conflict, match="cannot take charge"):
            registry.promote(second, by=None)

    def test_a_file_with_other_answers_is_refused(self, champion: ModelVersion) -> None:
        golden = [[row, 1 - answer] for row, answer in champion.golden_rows]

        with pytest.raises(ArtifactError, match="golden rows"):
            Artifact.load(file_of(champion), golden=golden)

    def test_a_file_with_outside_data_is_refused(self, champion: ModelVersion) -> None:
        model = onnx.load_model_from_string(file_of(champion))
        tensor = model.graph.initializer.add(name="secret", data_type=1, dims=[1])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

        with pytest.raises(ArtifactError):
            Artifact.load(model.SerializeToString(), golden=champion.golden_rows)

    def test_a_file_with_other_operators_is_refused(self, champion: ModelVersion) -> None:
        model = onnx.load_model_from_string(file_of(champion))
        model.graph.node.append(onnx.helper.make_node("Abs", ["features"], ["unused"]))

        with pytest.raises(ArtifactError, match="Abs"):
            Artifact.load(model.SerializeToString(), golden=champion.golden_rows)

    def test_a_model_of_another_definition_is_refused(self, champion: ModelVersion) -> None:
        champion.definition_version = "0"

        with pytest.raises(ArtifactError, match="definition 0"):
            registry.load(champion)

    def test_one_row_and_many_give_the_same_bits(self, champion: ModelVersion) -> None:
        artifact = registry.load(champion)
        matrix = features_services.matrix(champion.feature_batch)

        together = artifact.score(matrix)

        assert together.tobytes() == np.concatenate([artifact.score(row[None]) for row in matrix]).tobytes()


def test_a_damaged_file_in_storage_is_written_anew(transactional_db: None) -> None:
    from titanic_site.lib import files

    name = files.keep(b"model", suffix=".onnx")
    default_storage.delete(name)
    default_storage.save(name, ContentFile(b"mod"))

    assert files.keep(b"model", suffix=".onnx") == name
    assert default_storage.size(name) == 5
