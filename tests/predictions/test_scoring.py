"""Scoring files: in parts, by several workers, once, whatever is killed, cancelled or started again."""

import csv
import gzip
import io
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone
from rest_framework.test import APIClient

from benchmarks.passengers import make
from core import jobs, tokens
from core.errors import TitanicError
from core.jobs import State
from features.definition import INPUTS
from ingestion import table as tables
from predictions import explanation, outcomes, scorer, scoring, services
from predictions.models import Outcome, Prediction, PredictionCount, ScoringJob, ScoringPart
from predictions.scoring import job as job_module
from predictions.scoring import splitting
from tests.people import CAST, ELISABETH, OWEN, table
from tests.web import environment
from titanic_site.models import AccessToken
from training.models import ModelVersion

ROW_COUNT = 60_000


def queue(text: str | bytes, **options: Any) -> ScoringJob:
    data = text.encode() if isinstance(text, str) else text
    return services.queue_scoring(file=SimpleUploadedFile("table.csv", data), by=None, **options)


def scored(text: str | bytes, **options: Any) -> tuple[ScoringJob, list[dict[str, str]]]:
    job = queue(text, **options)
    scoring.score(job)
    return job, rows_of(job)


def rows_of(job: ScoringJob) -> list[dict[str, str]]:
    text = b"".join(scoring.results(job))
    assert len(text) == scoring.result_bytes(job)
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def answers_of(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """What does not differ between two jobs of the same file."""
    return [{name: cell for name, cell in row.items() if name != "prediction_id"} for row in rows]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows make a part."""
    monkeypatch.setattr(tables, "BLOCK_BYTES", 600)


def people(count: int) -> str:
    return table(*(CAST[number % len(CAST)] for number in range(count)))


def test_parts_together_are_what_the_whole_is(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    _whole, expected = scored(people(100))
    monkeypatch.setattr(tables, "BLOCK_BYTES", 600)

    job, found = scored(people(100))

    assert job.parts.count() > 5
    assert answers_of(found) == answers_of(expected)
    assert (job.row_count, job.problem_count, job.model_version) == (100, 0, champion.version)
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == 100
    answers = [given.probability for given in services.predict(services.parse_batch(CAST))]
    assert [float(row["predicted_probability"]) for row in found[:4]] == answers


@pytest.mark.usefixtures("small_parts")
def test_what_is_wrong_with_a_row_stands_beside_it(champion: ModelVersion) -> None:
    lines = people(40).splitlines()
    lines[18] = lines[18].replace('"3"', '"9"')
    lines[30] = "1,2"
    lines[33] = lines[33].replace('"Allen, Miss. Elisabeth Walton"', '"=cmd()"')

    job, found = scored("\n".join(lines) + "\n")

    assert (job.row_count, job.problem_count) == (40, 2)
    wrong = [(number, row["error"]) for number, row in enumerate(found, start=1) if row["error"]]
    assert [number for number, _error in wrong] == [18, 30]
    assert wrong[0][1].startswith("pclass: ")
    assert found[17]["predicted_probability"] == found[29]["predicted_probability"] == ""
    assert found[32]["Name"] == "'=cmd()"
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == 38


@pytest.mark.usefixtures("small_parts")
def test_a_packed_file_is_cut_too(champion: ModelVersion) -> None:
    text = people(60)

    assert answers_of(scored(gzip.compress(text.encode()))[1]) == answers_of(scored(text)[1])


@pytest.mark.usefixtures("small_parts")
def test_the_model_of_the_start_scores_all_parts(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(people(60))
    take, count = job_module.score_next, 0

    def forget_the_champion_after_two(*args: Any) -> bool:
        nonlocal count
        count += 1
        if count == 2:
            ModelVersion.objects.update(stage="retired")
            scorer.reset()
        return take(*args)

    monkeypatch.setattr(job_module, "score_next", forget_the_champion_after_two)
    scoring.score(job)

    assert {row["model_version"] for row in rows_of(job)} == {str(champion.version)}


@pytest.mark.usefixtures("small_parts")
def test_what_breaks_off_goes_on_with_the_other_parts(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(people(60))
    log_rows, calls = job_module._log, 0

    def fail_at_the_third(*args: Any) -> None:
        nonlocal calls
        calls += 1
        log_rows(*args)
        if calls == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_module, "_log", fail_at_the_third)
    with pytest.raises(OSError, match="No space"):
        scoring.score(job)
    job.refresh_from_db()
    done = job.parts.filter(is_done=True).count()
    assert (job.state, done) == (State.FAILED, 2)
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == sum(
        job.parts.filter(is_done=True).values_list("row_count", flat=True)
    )

    again = job.rerun()
    assert again.pk == job.pk
    scoring.score(again)

    assert len(rows_of(again)) == 60
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == 60


@pytest.mark.usefixtures("small_parts")
def test_a_cancelled_job_stops_and_goes_on(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(people(60))
    take = job_module.score_next

    def cancel_after_one(*args: Any) -> bool:
        found = take(*args)
        ScoringJob.objects.get(pk=job.pk).cancel()
        job._lease.is_lost = True
        return found

    monkeypatch.setattr(job_module, "score_next", cancel_after_one)
    with pytest.raises(jobs.Cancelled):
        scoring.score(job)
    assert job.parts.filter(is_done=True).count() == 1
    monkeypatch.undo()

    scoring.score(ScoringJob.objects.get(pk=job.pk).rerun())

    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == 60


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_parts")
def test_what_was_in_hand_when_it_was_cancelled_is_given_up(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue(people(60))
    log_rows = job_module._log

    def cancelled_meanwhile(*args: Any) -> None:
        log_rows(*args)
        with closing(connections["default"].copy()) as connection, connection.cursor() as elsewhere:
            elsewhere.execute("UPDATE predictions_scoringjob SET state = 'cancelled' WHERE id = %s", [job.pk])

    monkeypatch.setattr(job_module, "_log", cancelled_meanwhile)

    with pytest.raises(jobs.Cancelled):
        scoring.score(job)

    assert not job.parts.filter(is_done=True).exists()
    assert not Prediction.objects.filter(scoring_job_id=job.pk).exists()


def test_a_packed_file_that_is_cancelled_while_it_is_cut_leaves_nothing_unpacked(
    champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue(gzip.compress(people(60).encode()))
    folder = str(Path(job.upload.name).parent)
    before = set(default_storage.listdir(folder)[1])
    record_parts = splitting._record_parts

    def cancelled_meanwhile(*args: Any, **options: Any) -> None:
        assert len(set(default_storage.listdir(folder)[1]) - before) == 1
        ScoringJob.objects.get(pk=job.pk).cancel()
        record_parts(*args, **options)

    monkeypatch.setattr(splitting, "_record_parts", cancelled_meanwhile)
    with pytest.raises(jobs.Cancelled):
        scoring.score(job)

    assert set(default_storage.listdir(folder)[1]) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("small_parts")
def test_helpers_take_parts_and_none_twice(champion: ModelVersion) -> None:
    job = queue(people(400))
    scoring_errors: list[BaseException] = []

    def help_out() -> None:
        try:
            while ScoringJob.objects.get(pk=job.pk).state in (State.QUEUED, State.RUNNING):
                scoring.score_parts(job.pk)
        except BaseException as error:  # noqa: BLE001 - the test tells of it
            scoring_errors.append(error)
        finally:
            connections.close_all()

    helpers = [threading.Thread(target=help_out) for _ in range(3)]
    for helper in helpers:
        helper.start()
    scoring.score(job)
    for helper in helpers:
        helper.join()

    assert scoring_errors == []
    assert len(rows_of(job)) == 400
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == 400
    assert sum(PredictionCount.objects.filter(source="csv").values_list("count", flat=True)) == 400


def test_a_job_whose_worker_died_is_queued_again_a_few_times(champion: ModelVersion) -> None:
    job = queue(people(4))
    for start in range(1, jobs.MAX_STARTS + 1):
        job._claim()
        ScoringJob.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        jobs.recover_stale(pause=0)
        job.refresh_from_db()
        assert job.starts == start
        assert job.state == (State.QUEUED if start < jobs.MAX_STARTS else State.FAILED)


def test_each_answer_is_explained_when_asked_for(champion: ModelVersion) -> None:
    _job, found = scored(people(4), is_explained=True)

    for row in found:
        shares = [float(row[f"why_{name}"]) for name in INPUTS]
        assert float(row["base"]) + sum(shares) == pytest.approx(float(row["predicted_probability"]), abs=1e-10)


def test_too_many_rows_are_not_explained(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "MAX_ROWS", 3)

    with pytest.raises(TitanicError, match="3 rows"):
        scored(people(4), is_explained=True)
    assert not Prediction.objects.exists()
    # Rows are counted, and neither lines nor blank ones.
    _job, found = scored("pclass,sex,name\n" + '1,male,"A\n\nB"\n\n' * 3, is_explained=True)
    assert len(found) == 3


HOSTILE = {
    "empty": b"",
    "header only": table().encode(),
    "blank lines": table().encode() + b"\n\n\n",
    "no header": b"1,2,3\n4,5,6\n",
    "stray quote at the end": people(50).encode() + b'5,1,3,a"b,male,1,0,0,x,1,,S\n',
    "unclosed quote": people(50).encode() + b'5,1,3,"a,male,1,0,0,x,1,,S\n',
    "UTF-8 and Latin-1": people(50).encode() + "Ü".encode() + b"\xff\n",
    "a line without an end": people(2).encode() + b"x" * (3 * 1024**2),
    "damaged gzip": gzip.compress(people(50).encode())[:-9],
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.usefixtures("small_parts")
def test_what_is_no_table_is_refused_whole(case: str, champion: ModelVersion) -> None:
    job = queue(HOSTILE[case])

    with pytest.raises(TitanicError):
        scoring.score(job)
    job.refresh_from_db()
    assert job.state == State.FAILED
    assert job.error
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("text", ["\ufeff" + people(3), people(3).replace("\n", "\r\n"), people(3).rstrip("\n")])
def test_other_manners_of_writing_are_read(text: str, champion: ModelVersion) -> None:
    assert len(scored(text)[1]) == 3


def test_a_file_of_mostly_bad_rows_has_results_where_the_job_allows_it(champion: ModelVersion) -> None:
    job, found = scored(table({**OWEN, "pclass": 7}, {**ELISABETH, "sex": "unsaid"}, OWEN), largest_problem_share=0.7)

    assert (job.row_count, job.problem_count) == (3, 2)
    assert [bool(row["error"]) for row in found] == [True, True, False]


def test_a_lost_upload_fails_the_job(champion: ModelVersion) -> None:
    job = queue(people(3))
    Path(job.upload.path).unlink()

    with pytest.raises(FileNotFoundError):
        scoring.score(job)
    assert ScoringJob.objects.get(pk=job.pk).state == State.FAILED


def test_lost_results_are_a_404(api: APIClient, champion: ModelVersion) -> None:
    job, _found = scored(people(3))
    Path(job.parts.get().results.path).unlink()

    assert api.get(f"/api/v1/scoring-jobs/{job.pk}/results.csv").status_code == 404


def test_a_person_has_some_files_scored_at_a_time(api: APIClient, champion: ModelVersion) -> None:
    def send() -> Any:
        upload = SimpleUploadedFile("x.csv", people(1).encode())
        return api.post("/api/v1/scoring-jobs/", {"file": upload, "explain": "true"}, format="multipart")

    codes = [send().status_code for _ in range(settings.MOST_OPEN_JOBS + 1)]

    assert codes == [202] * settings.MOST_OPEN_JOBS + [409]
    ScoringJob.objects.update(state=State.SUCCEEDED)
    assert send().status_code == 202
    assert ScoringJob.objects.latest().is_explained


@pytest.mark.django_db(transaction=True)
def test_of_many_files_at_once_no_more_are_taken(api: APIClient, champion: ModelVersion) -> None:
    def send(_number: int) -> int:
        upload = SimpleUploadedFile("x.csv", people(1).encode())
        try:
            return int(api.post("/api/v1/scoring-jobs/", {"file": upload}, format="multipart").status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(16) as threads:
        codes = list(threads.map(send, range(16)))

    assert codes.count(202) == settings.MOST_OPEN_JOBS
    assert codes.count(409) == 16 - settings.MOST_OPEN_JOBS


def test_each_answer_has_the_id_that_outcomes_are_told_by(api: APIClient, champion: ModelVersion) -> None:
    job, found = scored(people(4) + "1,2\n")

    told = [row["prediction_id"] for row in found]
    logged = api.get(f"/api/v1/predictions/?scoring_job={job.pk}").json()["results"]
    assert told[-1] == ""
    assert sorted(told[:-1]) == sorted(row["id"] for row in logged)
    assert {row["scoring_job_id"] for row in logged} == {job.pk}
    assert api.get(f"/api/v1/predictions/?scoring_job={job.pk + 1}").json()["results"] == []
    assert api.post(f"/api/v1/predictions/{told[0]}/outcome/", {"survived": True}, format="json").status_code == 201


def test_results_with_the_label_filled_in_are_a_file_of_outcomes(champion: ModelVersion) -> None:
    lines = people(3).splitlines()
    # The label is known of the first, wrong of nobody, and unknown of the second; the third row is rejected.
    lines[2], lines[3] = lines[2].replace('"1"', "", 1), lines[3].replace('"1","3"', '"1","9"', 1)
    job, rows = scored("\n".join(lines) + "\n")

    summary = outcomes.record_file(io.BytesIO(b"".join(scoring.results(job))), by=None)

    assert list(rows[0])[-5:] == [
        "predicted_probability", "predicted_survived", "model_version", "prediction_id", "error"
    ]  # fmt: skip
    assert (summary.recorded, summary.empty, [problem.row for problem in summary.problems]) == (1, 1, [4])
    assert {(str(outcome.pk), outcome.actual) for outcome in Outcome.objects.all()} == {
        (rows[0]["prediction_id"], rows[0]["Survived"] == "1")
    }


def test_results_that_are_scored_again_have_both_answers_under_names_of_their_own(champion: ModelVersion) -> None:
    job, first = scored(people(2))
    again, second = scored(b"".join(scoring.results(job)))

    _job, third = scored(b"".join(scoring.results(again)))

    assert second[0]["input_prediction_id"] == first[0]["prediction_id"] != second[0]["prediction_id"]
    assert third[0]["input_input_prediction_id"] == second[0]["prediction_id"]
    assert len(set(third[0])) == len(third[0])


def test_a_job_is_cancelled_by_whose_it_is_or_who_may_operate(
    api: APIClient, champion: ModelVersion, django_user_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials: Any = vars(api)["_credentials"]
    users = {name: django_user_model.objects.get(username=name) for name in ("caller", "admin")}
    files = {
        name: services.queue_scoring(file=SimpleUploadedFile("x.csv", people(4).encode()), by=user)
        for name, user in users.items()
    }
    AccessToken.objects.update(can_operate=False)

    def cancel(job: ScoringJob) -> Any:
        return api.post(f"/api/v1/scoring-jobs/{job.pk}/cancel/")

    mine, again, theirs = cancel(files["caller"]), cancel(files["caller"]), cancel(files["admin"])
    assert (mine.status_code, mine.json()["state"]) == (200, State.CANCELLED)
    assert (again.status_code, again.json()["errors"][0]["code"]) == (409, "conflict")
    assert (theirs.status_code, ScoringJob.objects.get(pk=files["admin"].pk).state) == (404, State.QUEUED)
    AccessToken.objects.update(can_operate=True)
    tokens.clear_cache()
    api.credentials()
    monkeypatch.setattr(settings, "API_ALLOW_ANONYMOUS", True)
    assert cancel(files["admin"]).status_code == 404
    api.credentials(**credentials)
    assert cancel(files["admin"]).status_code == 200
    assert api.post("/api/v1/scoring-jobs/999999/cancel/").status_code == 404


def test_an_explained_file_is_cut_small(champion: ModelVersion) -> None:
    text = "pclass,sex,age\n" + "3,male,30\n" * 300

    job = queue(text, is_explained=True)
    with pytest.raises(jobs.Cancelled), job.running():
        splitting.split_file(job)
        raise jobs.Cancelled

    assert job.parts.count() >= 3


def test_the_command_scores_and_explains(champion: ModelVersion, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(people(3))

    call_command("score_file", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--explain", stdout=io.StringIO())

    with (tmp_path / "out.csv").open(newline="") as file:
        assert len([row for row in csv.DictReader(file) if float(row["base"]) > 0]) == 3
    with pytest.raises(CommandError):
        call_command("score_file", str(tmp_path / "none.csv"), str(tmp_path / "out.csv"))
    count = Prediction.objects.count()
    with pytest.raises(CommandError, match="No such file"):
        call_command("score_file", str(tmp_path / "in.csv"), str(tmp_path / "none" / "out.csv"))
    assert Prediction.objects.count() == count


def _start(path: Path, code: str) -> "subprocess.Popen[bytes]":
    """A process of its own on this test's database."""
    with path.open("a") as log:
        return subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-c", code], cwd=settings.BASE_DIR, env=environment(),
            stdout=log, stderr=log,
        )  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("most", [3, pytest.param(10, marks=pytest.mark.long)])
def test_killed_again_and_again_every_row_is_logged_once(champion: ModelVersion, tmp_path: Path, most: int) -> None:
    text = make(tmp_path / "people.csv", row_count=ROW_COUNT).read_bytes()
    job = queue(text)
    code = (
        "from predictions import scoring; from predictions.models import ScoringJob;"
        f" scoring.score(ScoringJob.objects.get(pk={job.pk}))"
    )
    chance = random.Random(1912)
    kills = 0
    while kills < most:
        process = _start(tmp_path / "log", code)
        end = time.monotonic() + 60
        while ScoringJob.objects.get(pk=job.pk).state == State.QUEUED and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        job.refresh_from_db()
        if job.state == State.SUCCEEDED:
            break
        # What the sweep does, a lease later.
        ScoringJob.objects.update(state=State.QUEUED)
    if job.state != State.SUCCEEDED:
        job.refresh_from_db()
        scoring.score(job)

    assert kills > 2
    assert Prediction.objects.filter(scoring_job_id=job.pk).count() == ROW_COUNT
    found = rows_of(job)
    assert len(found) == ROW_COUNT
    _again, expected = scored(text)
    assert answers_of(found) == answers_of(expected)
    assert not ScoringPart.objects.filter(is_done=False).exists()
    assert len(default_storage.listdir(f"scoring/results/{job.pk}")[1]) == job.parts.count()
