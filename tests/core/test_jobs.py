"""A job's life: claimed once, leased, ended honestly, started again."""

import socket
import threading
import time
from contextlib import closing
from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerUnavailable
from rest_framework.test import APIClient

from core import heartbeat, jobs, redis
from core.circuit_breaker import CircuitBreaker
from core.errors import Conflict, TitanicError, Unavailable
from core.jobs import Cancelled, NotClaimed, State, lease
from core.jobs.publisher import LIMITS, publish
from core.messages import Message
from ingestion.models import Dataset
from predictions.models import ScoringJob
from tests.services import postgres_away
from titanic_site import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def job() -> Dataset:
    return Dataset.objects.create(name="table", uri="/nowhere")


def test_it_works(job: Dataset) -> None:
    with job.running():
        assert job.state == State.RUNNING
        assert job.started_at

    job.refresh_from_db()
    assert (job.state, job.progress, str(job.error)) == (State.SUCCEEDED, 1, "")
    assert job.finished_at


def test_a_second_delivery_gets_nothing(job: Dataset) -> None:
    again = Dataset.objects.get(pk=job.pk)

    with job.running(), pytest.raises(NotClaimed), again.running():
        pytest.fail("two workers hold one job")

    job.refresh_from_db()
    assert job.state == State.SUCCEEDED


def test_a_job_that_goes_on_where_its_worker_died_has_no_pace() -> None:
    job = ScoringJob.objects.create(name="people.csv", upload="people.csv")
    job._claim()
    ScoringJob.objects.update(progress=0.15, handled_count=150_000)
    job.refresh_from_db()
    assert job.rows_per_second
    assert job.time_left is not None
    began = job.started_at

    ScoringJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    jobs.recover_stale(pause=0)
    job._claim()

    assert (job.state, job.handled_count) == (State.RUNNING, 150_000)
    assert (job.rows_per_second, job.time_left) == (None, None)
    assert job.started_at == began


def test_a_job_that_a_person_starts_again_has_no_pace_either() -> None:
    job = ScoringJob.objects.create(name="people.csv", upload="people.csv")
    job._claim()
    ScoringJob.objects.update(progress=0.9, handled_count=900_000, state=State.CANCELLED)
    job.refresh_from_db()

    again = job.rerun()
    again._claim()

    assert (again.rows_per_second, again.time_left) == (None, None)


def test_a_failure_is_written_down_with_its_next_step(job: Dataset) -> None:
    with pytest.raises(TitanicError), job.running():
        raise TitanicError("Put the file there.")

    job.refresh_from_db()
    assert (job.state, str(job.error)) == (State.FAILED, "Put the file there.")


def test_a_failure_is_read_in_the_readers_language(job: Dataset, client: Client, api: APIClient) -> None:
    with pytest.raises(TitanicError), job.running():
        raise Conflict(Message("%(dataset)s is not loaded: ingest it first.") % {"dataset": job})
    language = {"accept-language": "es"}

    error = api.get(f"/api/v1/datasets/{job.pk}/").json()["error"]
    spanish = api.get(f"/api/v1/datasets/{job.pk}/", headers=language).json()["error"]

    assert error == f"Dataset {job.pk} is not loaded: ingest it first."
    assert spanish.startswith(f"Conjunto de datos {job.pk} ")
    assert spanish in client.get(job.get_absolute_url(), headers=language).text


def test_an_error_of_an_earlier_version_is_shown_as_it_is(job: Dataset, client: Client) -> None:
    job.as_queryset().update(state=State.FAILED, error='{"text": 100 % wrong')

    assert "{&quot;text&quot;: 100 % wrong" in client.get(job.get_absolute_url()).text


def test_an_unforeseen_error_is_written_down_too(job: Dataset) -> None:
    with pytest.raises(ZeroDivisionError), job.running():
        _ = 1 / 0

    job.refresh_from_db()
    assert (job.state, str(job.error)) == (State.FAILED, "ZeroDivisionError: division by zero")


def test_it_refuses_to_run_inside_a_transaction(job: Dataset) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), job.running():
        pytest.fail("the failed mark would be rolled back")


@pytest.mark.django_db(transaction=True)
def test_progress_and_lease_are_renewed_in_the_middle_of_a_transaction(
    job: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.02)

    with job.running(), transaction.atomic():
        job.report(0.5)
        seen = _seen_from_outside(job, lambda found: found.progress == 0.5)

    assert seen.lease_expires_at is not None
    assert seen.lease_expires_at > timezone.now()


@pytest.mark.django_db(transaction=True)
def test_a_job_that_runs_answers_for_its_queue(job: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.02)

    with job.running():
        _until(lambda: redis.client().exists("heartbeat:default"))

    assert "default" not in heartbeat.silent_queues()


@pytest.mark.django_db(transaction=True)
def test_within_a_worker_it_answers_for_all_its_queues(job: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.02)
    monkeypatch.setattr(current_app.amqp.queues, "_consume_from", None)

    @current_app.task
    def run() -> list[str]:
        with job.running():
            _until(lambda: redis.client().exists("heartbeat:scoring"))
        return heartbeat.silent_queues()

    current_app.amqp.queues.select(["default", "scoring"])
    try:
        silent = run.apply().get()
    finally:
        current_app.tasks.pop(run.name)

    assert {"default", "scoring"}.isdisjoint(silent)
    assert "training" in silent


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_job_stops_at_its_next_report(job: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_SECONDS", 0.02)

    with pytest.raises(Cancelled), job.running():
        Dataset.objects.get(pk=job.pk).cancel()
        _until(lambda: _has_heard(job))

    job.refresh_from_db()
    assert job.state == State.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_a_job_cancelled_at_the_last_moment_commits_nothing(job: Dataset) -> None:
    with pytest.raises(Cancelled), job.running(), transaction.atomic():
        _in_another_thread(lambda: Dataset.objects.get(pk=job.pk).cancel())
        job.lock_row()

    job.refresh_from_db()
    assert job.state == State.CANCELLED


def test_a_cancelled_queued_job_never_runs(job: Dataset) -> None:
    job.cancel()

    with pytest.raises(NotClaimed), job.running():
        pytest.fail("it was cancelled")


def test_what_is_over_cannot_be_cancelled(job: Dataset) -> None:
    job.cancel()

    with pytest.raises(Conflict):
        job.cancel()


def test_starting_again_makes_a_new_row_with_the_same_inputs(job: Dataset) -> None:
    job.cancel()

    again = job.rerun()

    assert again.pk != job.pk
    assert (again.state, again.uri, again.name) == (State.QUEUED, job.uri, job.name)


def test_an_open_job_is_not_started_again(job: Dataset) -> None:
    with pytest.raises(Conflict):
        job.rerun()


def test_the_sweep_closes_what_a_dead_worker_left(job: Dataset) -> None:
    Dataset.objects.filter(pk=job.pk).update(
        state=State.RUNNING, worker="gone", lease_expires_at=timezone.now() - timedelta(seconds=1)
    )

    closed, _ = jobs.recover_stale(pause=0)

    job.refresh_from_db()
    assert closed == 1
    assert job.state == State.FAILED
    assert "Start it again" in str(job.error)


def test_the_sweep_leaves_a_living_job_alone(job: Dataset) -> None:
    with job.running():
        assert jobs.recover_stale()[0] == 0


def test_the_sweep_leaves_jobs_alone_whose_leases_a_clock_set_forward_seems_to_end(
    job: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    Dataset.objects.filter(pk=job.pk).update(
        state=State.RUNNING, worker="alive", lease_expires_at=timezone.now() - timedelta(hours=1)
    )

    def renew(_seconds: float) -> None:
        Dataset.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() + timedelta(minutes=1))

    monkeypatch.setattr(time, "sleep", renew)

    assert jobs.recover_stale()[0] == 0
    job.refresh_from_db()
    assert job.state == State.RUNNING


def test_a_job_is_queued_in_time_while_redis_is_silent(
    job: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        breaker = CircuitBreaker("Redis", probe=redis._probe)
        # The thread that closes the circuit is not needed.
        monkeypatch.setattr(breaker, "_close_when_answered", lambda: None)
        with monkeypatch.context() as patch:
            patch.setattr(settings, "REDIS_URL", url)
            patch.setattr(redis, "breaker", breaker)
            began = time.monotonic()
            publish(job)
            publish(job)
            assert time.monotonic() - began < 3
        # And where the breaker has just had an answer.
        began = time.monotonic()
        with (
            current_app.connection_for_write(url, transport_options=LIMITS) as broker,
            pytest.raises(BrokerUnavailable),
        ):
            current_app.send_task("none", connection=broker, retry=False)
        assert time.monotonic() - began < 5

    assert "not published" in caplog.text
    job.refresh_from_db()
    assert job.state == State.QUEUED


def test_the_sweep_sends_again_what_was_never_delivered(job: Dataset) -> None:
    Dataset.objects.filter(pk=job.pk).update(sent_at=timezone.now() - 2 * jobs.RESEND_AFTER)

    first, second = jobs.recover_stale(), jobs.recover_stale()

    assert (first[1], second[1]) == (1, 0)
    assert redis.client().llen("default") == 1


@pytest.mark.django_db(transaction=True)
def test_a_task_says_in_a_sentence_that_postgres_is_away(db: None, caplog: pytest.LogCaptureFixture) -> None:
    with postgres_away():
        ended = tasks.recover_stale_jobs.apply()

    assert isinstance(ended.result, Unavailable)
    assert "a service is unavailable" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_job_is_published_on_commit_only(job: Dataset) -> None:
    with transaction.atomic():
        jobs.enqueue(job)
        before = redis.client().llen("default")

    assert (before, redis.client().llen("default")) == (0, 1)


def _seen_from_outside(job: Dataset, holds: object) -> Dataset:
    found: list[Dataset] = []

    def look() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            seen = Dataset.objects.get(pk=job.pk)
            if holds(seen):
                found.append(seen)
                return
            time.sleep(0.02)

    _in_another_thread(look)
    assert found, "never seen from outside"
    return found[0]


def _in_another_thread(work: object) -> None:
    def run() -> None:
        work()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def _until(holds: object) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)


def _has_heard(job: Dataset) -> bool:
    job.report(0.1)
    return False


def test_ctrl_c_cancels_it(db: None) -> None:
    job = Dataset.objects.create(uri="x", name="x")

    with pytest.raises(KeyboardInterrupt), job.running():
        raise KeyboardInterrupt

    assert job.state == State.CANCELLED
