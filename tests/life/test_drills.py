"""The whole drill: every fault under traffic. Its short form is in test_life.py, on the product that runs there."""

import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_doubled_and_all_heals_by_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drills"], cwd=settings.BASE_DIR, capture_output=True, check=False, text=True
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_a_fault_that_is_not_there_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drills", "meteor"], cwd=settings.BASE_DIR, capture_output=True, check=False, text=True
    )

    assert done.returncode == 2
    assert "there is no such fault; there are: none, kill -9 a web process" in done.stderr
