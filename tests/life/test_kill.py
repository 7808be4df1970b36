"""kill -9 in the middle of a load: all of its rows are there, or none, and the next start succeeds."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from benchmarks.passengers import make
from core import jobs
from core.jobs import State
from ingestion import services
from ingestion.models import Dataset, Passenger, RejectedRow, RowProblem
from titanic_site.runtime import embedded

ROW_COUNT = 60_000
TIMES = 10


def start(path: Path) -> "subprocess.Popen[bytes]":
    """The command on this test's own database."""
    host = quote(connection.settings_dict["HOST"], safe="")
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgres://titanic@{host}/{connection.settings_dict['NAME']}",
        "SECRET_KEY": settings.SECRET_KEY,
        "REDIS_URL": embedded.Layout(settings.HOME).redis_url,
    }
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "ingest", str(path)]
    with path.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def wait_until_it_runs(process: "subprocess.Popen[bytes]", number: int) -> None:
    end = time.monotonic() + 60
    while Dataset.objects.filter(started_at__isnull=False).count() < number:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def close_what_was_abandoned() -> None:
    """What the sweep does, a lease later."""
    Dataset.objects.filter(state=State.RUNNING).update(lease_expires_at="2000-01-01T00:00:00Z")
    jobs.recover_stale(pause=0)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_killed_ten_times_at_random_points(transactional_db: None, tmp_path: Path) -> None:
    path = make(tmp_path / "people.csv", row_count=ROW_COUNT)
    whole_load = 1.5
    chance = random.Random(1912)
    states = []

    for number in range(1, TIMES + 1):
        process = start(path)
        wait_until_it_runs(process, number)
        time.sleep(chance.uniform(0, whole_load))
        process.send_signal(signal.SIGKILL)
        process.wait()
        close_what_was_abandoned()
        dataset = Dataset.objects.latest()
        states.append(dataset.state)
        expected = ROW_COUNT if dataset.state == State.SUCCEEDED else 0
        assert Passenger.objects.filter(dataset=dataset).count() == expected, dataset.state
        assert not RowProblem.objects.exists()
        assert not RejectedRow.objects.exists()

    assert State.FAILED in states
    again = Dataset.objects.filter(state=State.FAILED).latest().rerun()
    services.ingest(again)
    assert Passenger.objects.of(again).count() == ROW_COUNT
