"""A training in a process of its own: limits, cancelling, an end that comes from outside, and other machines."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pytest

from core.jobs import Cancelled, State, lease
from features.definition import FEATURES
from training import services, subprocess_training
from training.models import ModelVersion
from training.subprocess_training import Limits, TrainingError
from training.training_data import Examples
from training.training_spec import Progress, TrainedModel, TrainingSpec

ENOUGH = Limits(seconds=250, memory_bytes=4 * 2**30)
QUICK = TrainingSpec("logistic_regression", seed=1, candidates=0)
SEARCH = TrainingSpec("logistic_regression", seed=1, candidates=9)


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Rows with a label that two of the features tell, more or less."""
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 3, size=(300, len(FEATURES))).astype(np.float32)
    labels = matrix[:, 0] + matrix[:, 3] + rng.normal(size=300) > 2
    return Examples(matrix, labels, np.arange(300) // 2, np.arange(300) % 10 < 2, matrix[:, 3] > 1)


@pytest.fixture(autouse=True)
def _folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def trainings() -> list[Any]:
    """Processes that train at the moment, for this test."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "training.subprocess_training" in (line := process.info["cmdline"] or [])
        and line[-1].startswith(tempfile.gettempdir())
    ]


def are_gone(*, within_seconds: float = 20) -> bool:
    ends_at = time.monotonic() + within_seconds
    while time.monotonic() < ends_at:
        if not trainings():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def searched(examples: Examples) -> tuple[TrainedModel, list[Progress]]:
    """The model of a training with a search, and its reports on the way."""
    reports: list[Progress] = []
    return subprocess_training.fit(SEARCH, examples, limits=ENOUGH, report=reports.append), reports


def test_it_works(searched: tuple[TrainedModel, list[Progress]]) -> None:
    model, reports = searched

    assert model.metrics.hold_out.rows == 60
    assert [progress.done for progress in reports] == sorted(progress.done for progress in reports)


def test_a_search_reports_its_progress(searched: tuple[TrainedModel, list[Progress]]) -> None:
    model, reports = searched

    searches = [progress.search for progress in reports if progress.search]
    assert (searches[-1].tried, searches[-1].of) == (13, 13)
    assert searches[-1].best.parameters == model.parameters
    assert len(model.metrics.search.trials) == 9


ALGORITHMS = ("random_forest", "gradient_boosting", "logistic_regression")
# Each algorithm's pipeline, and the calibrated forest, fitted and exported: without the figures, which take the time.
GRAPHS = """
import sys
from pathlib import Path
from core.content_store import sha256_of
from training import export, fitting
from training.training_data import Examples
from training.training_spec import TrainingSpec
train = Examples.load(Path(sys.argv[1])).train
for algorithm in sys.argv[2:]:
    spec, parameters = TrainingSpec(algorithm, 1, 0), fitting.estimators.ALGORITHMS[algorithm].defaults
    for make in (fitting.uncalibrated, fitting.calibrated):
        pipeline = make(spec, parameters, train).fit(train.matrix, train.labels)
        print(algorithm, make.__name__, sha256_of(export.to_graph(pipeline)))
"""


def test_the_same_spec_makes_the_same_graph_in_another_process(tmp_path: Path, examples: Examples) -> None:
    examples.save(tmp_path / "examples.npz")
    command = [sys.executable, "-c", GRAPHS, str(tmp_path / "examples.npz"), *ALGORITHMS]

    processes = [
        subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE) for seed in "12"
    ]
    first, second = (process.communicate()[0] for process in processes)

    assert len(set(first.splitlines())) == 2 * len(ALGORITHMS)
    assert first == second


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_spec_makes_the_same_bytes_in_another_process(
    examples: Examples, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TrainingSpec(algorithm, seed=1, candidates=0)
    graphs = []
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        graphs.append(subprocess_training.fit(spec, examples, limits=ENOUGH, report=lambda _: None).graph)

    assert graphs[0] == graphs[1]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(Limits(0.5, 4 * 2**30), "more than the 0 seconds"), (Limits(250, 2**20), "MB of memory, more than the 1 MB")],
)
def test_it_ends_at_its_limits(examples: Examples, limits: Limits, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        subprocess_training.fit(QUICK, examples, limits=limits, report=lambda _: None)

    assert are_gone()


def test_it_ends_when_it_is_cancelled(examples: Examples) -> None:
    def cancel(_: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        subprocess_training.fit(QUICK, examples, limits=ENOUGH, report=cancel)

    assert are_gone()


def test_it_says_by_what_it_was_ended(examples: Examples) -> None:
    def kill(_: Progress) -> None:
        for process in trainings():
            process.send_signal(signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL"):
        subprocess_training.fit(QUICK, examples, limits=ENOUGH, report=kill)


def test_it_ends_with_its_parent(tmp_path: Path, examples: Examples) -> None:
    examples.save(tmp_path / "examples.npz")
    script = (
        "import sys; from pathlib import Path; from training.training_data import Examples;"
        "from training import subprocess_training as training;"
        "from training.training_spec import TrainingSpec;"
        "training.fit(TrainingSpec('random_forest', 1, 500), Examples.load(Path(sys.argv[1])),"
        " limits=training.Limits(250, 2**33), report=lambda _: print(1, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "examples.npz")],
        stdout=subprocess.PIPE,
        cwd=Path.cwd(),
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert trainings()
        parent.kill()

    assert are_gone()


def test_too_few_rows_are_refused_in_a_sentence(examples: Examples) -> None:
    few = examples.take(np.flatnonzero(examples.is_holdout | ~examples.labels))

    with pytest.raises(TrainingError, match="of each label there must be at least 5 rows"):
        subprocess_training.fit(QUICK, few, limits=ENOUGH, report=lambda _: None)


def test_one_group_is_refused_in_a_sentence(examples: Examples) -> None:
    one = Examples(
        examples.matrix, examples.labels, np.zeros(300, dtype=np.int64), examples.is_holdout, examples.baseline
    )

    with pytest.raises(TrainingError, match="too few groups"):
        subprocess_training.fit(QUICK, one, limits=ENOUGH, report=lambda _: None)


CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """A Dask scheduler with two workers, each a process of its own, out of a third one."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


# The drill of Compose trains on a cluster, too.
@pytest.mark.long
def test_a_dask_cluster_finds_what_the_local_cores_find(
    examples: Examples, searched: tuple[TrainedModel, list[Progress]], tmp_path: Path
) -> None:
    here, _ = searched

    with dask_cluster(tmp_path) as scheduler:
        there = subprocess_training.fit(
            SEARCH, examples, limits=ENOUGH, report=lambda _: None, dask_scheduler=scheduler
        )

    assert there.graph == here.graph
    assert there.metrics.search.trials == here.metrics.search.trials


def test_a_scheduler_that_does_not_answer_is_named(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "500ms")

    with pytest.raises(TrainingError, match=r"tcp://127\.0\.0\.1:9"):
        subprocess_training.fit(
            QUICK, examples, limits=ENOUGH, report=lambda _: None, dask_scheduler="tcp://127.0.0.1:9"
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("real_training")
def test_a_cancelled_run_ends_at_once_and_leaves_no_version(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.1)
    run = services.queue_run(batch=champion.feature_batch, candidates=500)

    def cancel() -> None:
        from django.db import connection

        while not trainings():
            time.sleep(0.1)
        type(run).objects.get(pk=run.pk).cancel()
        connection.close()

    person = Thread(target=cancel)
    person.start()
    with pytest.raises(Cancelled):
        services.train(run)
    person.join()

    run.refresh_from_db()
    assert run.state == State.CANCELLED
    assert are_gone()
    assert ModelVersion.objects.count() == 1
