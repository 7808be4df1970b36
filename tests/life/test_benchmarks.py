"""Every benchmark runs in its quick form, so that none can rot; its figures are another machine's business."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from benchmarks.figure import Figure, table

FOLDER = Path(settings.BASE_DIR) / "benchmarks"


NAMES = {path.stem for path in FOLDER.glob("*.py") if "def measure(" in path.read_text(encoding="utf-8")}
#: Those that start the whole product, and the one that loads every page of it, take most of the time.
OF_THE_PRODUCT, PAGES = {"serving", "scoring", "hour", "costs"}, {"pages"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "names",
    [
        NAMES - OF_THE_PRODUCT - PAGES,
        pytest.param(OF_THE_PRODUCT, marks=pytest.mark.long),
        pytest.param(PAGES, marks=pytest.mark.long),
    ],
)
def test_every_benchmark_runs(tmp_path: Path, names: set[str]) -> None:
    results = tmp_path / "results.json"

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *sorted(names), "--quick", "--results", results],
        cwd=settings.BASE_DIR,
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(results.read_text())
    assert set(figures) == names
    assert all(figures.values())
    for figure in (figure for group in figures.values() for figure in group):
        assert math.isfinite(figure["value"]), figure
        assert figure["name"] in done.stdout


def test_a_benchmark_that_is_not_there_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "there is no benchmark speed" in done.stderr


@pytest.mark.parametrize(
    ("bounds", "promise", "is_kept"),
    [
        ({"at_most": 3}, "at most 3 x", True),
        ({"at_most": 2}, "at most 2 x", False),
        ({"at_least": 2.5}, "at least 2.5 x", True),
        ({"at_least": 25}, "at least 25 x", False),
        ({}, "", None),
    ],
)
def test_a_promise_is_made_of_the_ratio(bounds: dict[str, float], promise: str, is_kept: bool | None) -> None:
    figure = Figure("ingest", 5.0, "s", reference=Figure("psql copy", 2.0, "s"), **bounds)

    assert (figure.ratio, figure.promise, figure.is_kept) == (2.5, promise, is_kept)


def test_without_a_reference_the_promise_is_made_of_the_value() -> None:
    figure = Figure("memory", 500, "MB", at_most=400)

    assert (figure.ratio, figure.promise, figure.is_kept) == (None, "at most 400 MB", False)
    assert table([figure]).splitlines()[-1].split() == ["memory", "500", "MB", "at", "most", "400", "MB", "NO"]
