"""Drift tests: what they see, what they leave alone, and that both backends say the same."""

import csv
import html
import io
import itertools
import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import numpy as np
import pytest
from alibi_detect.cd import ChiSquareDrift, KSDrift
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError  # noqa: A004
from rest_framework.test import APIClient
from scipy import stats

from core.errors import Conflict, TitanicError
from core.jobs import State
from features import services as features_services
from features.definition import DERIVED, FEATURES, Matrix
from monitoring import classifier, drift, services
from monitoring.drift import FALSE_ALARM_RATE, compare
from monitoring.models import DriftCheck, DriftWatch, LiveFigures
from predictions import log, rejections, scoring
from predictions import services as predictions
from predictions.models import Channel, Prediction, ScoringJob, lowest_id, new_id
from tests.conftest import SAMPLE
from tests.people import CAST, OWEN
from tests.users import make_user
from training.models import ModelVersion, TrainingRun


@pytest.fixture
def halves(champion: ModelVersion) -> tuple[Matrix, Matrix]:
    matrix = features_services.matrix(champion.feature_batch)
    order = np.random.default_rng(5).permutation(len(matrix))
    return matrix[order[:650]], matrix[order[650:850]].copy()


def drifted(reference: Matrix, window: Matrix, backend: str = "scipy") -> set[str]:
    return {test.name for test in compare(reference, window, backend=backend) if test.drifted}


def test_unchanged_data_has_not_drifted(halves: tuple[Matrix, Matrix]) -> None:
    assert drifted(*halves) == set()


def test_old_s1_higher_fares_are_seen(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves
    window[:, FEATURES.index("Fare")] *= 1.5

    assert drifted(reference, window) == {"Fare"}


def test_old_s5_values_that_went_missing_are_seen(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves
    window[:, FEATURES.index("Age")] = np.nan

    assert drifted(reference, window) == {"Age"}


def test_old_s1_one_row_repeated_is_seen(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves

    assert len(drifted(reference, np.repeat(window[:1], 200, axis=0))) >= 3


def test_old_s8_feature_and_verdict_share_one_threshold(halves: tuple[Matrix, Matrix]) -> None:
    tests = compare(*halves, backend="scipy")

    assert {test.threshold for test in tests} == {FALSE_ALARM_RATE / len(tests)}


def by_hand(name: str, before: Matrix, now: Matrix) -> dict[str, tuple[float, float]]:
    """The p-value of a feature without rare categories, by alibi-detect and by scipy, called as their documents say."""
    place = FEATURES.index(name)
    before, now = (part[~np.isnan(part[:, place])][:, [place]] for part in (before, now))
    is_numeric = len(np.unique(before)) > 12
    theirs = (KSDrift if is_numeric else ChiSquareDrift)(before).predict(now, drift_type="feature")["data"]
    if is_numeric:
        result = stats.ks_2samp(before[:, 0], now[:, 0], method="asymp")
    else:
        values = np.unique(before)
        result = stats.chi2_contingency([[(part == value).sum() for value in values] for part in (before, now)])
    return {"alibi": theirs["p_val"][0], "scipy": result.pvalue}


@pytest.mark.parametrize("backend", ["alibi", "scipy"])
def test_p_values_are_those_of_the_libraries_called_by_hand(halves: tuple[Matrix, Matrix], backend: str) -> None:
    tests = {test.name: test for test in compare(*halves, backend=backend) if test.test != "missing"}

    for name in ("Age", "Fare", "Pclass", "Sex", "Embarked"):
        assert tests[name].p_value == pytest.approx(by_hand(name, *halves)[backend], rel=1e-9, abs=0), name


def test_both_backends_say_the_same(halves: tuple[Matrix, Matrix]) -> None:
    ours, theirs = (compare(*halves, backend=backend) for backend in ("scipy", "alibi"))

    for one, other in zip(ours, theirs, strict=True):
        assert (one.name, one.test, one.distribution) == (other.name, other.test, other.distribution)
        assert one.p_value == pytest.approx(other.p_value, abs=1e-6)
        assert one.statistic == pytest.approx(other.statistic, rel=1e-5)


def test_no_test_sees_what_is_unknown(halves: tuple[Matrix, Matrix], monkeypatch: pytest.MonkeyPatch) -> None:
    def checked(before: Matrix, now: Matrix, **_: Any) -> tuple[float, float]:
        assert len(before)
        assert len(now)
        assert not np.isnan(before).any()
        assert not np.isnan(now).any()
        return 0.0, 1.0

    monkeypatch.setattr(drift, "two_sample_test", checked)
    everything_unknown = np.full((60, len(FEATURES)), np.nan, np.float32)
    for reference, window in itertools.product([*halves, everything_unknown], repeat=2):
        compare(reference, window, backend="scipy")


def test_the_models_output_is_one_more_column(halves: tuple[Matrix, Matrix]) -> None:
    rng = np.random.default_rng(1)
    outputs = rng.random(650), rng.random(200) ** 4

    assert {test.name for test in compare(*halves, outputs=outputs, backend="scipy") if test.drifted} == {drift.OUTPUT}


class TestDistribution:
    """What a test keeps, so that it can be drawn without the rows."""

    def of(self, name: str, test: str, reference: Matrix, window: Matrix) -> drift.Distribution:
        tests = {(each.name, each.test): each for each in compare(reference, window, backend="scipy")}
        return tests[name, test].distribution

    def test_numbers_are_counted_in_shared_bins(self, halves: tuple[Matrix, Matrix]) -> None:
        halves[1][0, FEATURES.index("Age")] = 1e9
        ages = [part[~np.isnan(part[:, 0])][:, 0] for part in halves]

        kept = self.of("Age", "kolmogorov-smirnov", *halves)

        assert len(kept.edges) == len(kept.window) + 1 == drift.BINS + 1
        assert kept.edges[-1] < 100
        assert (sum(kept.reference), sum(kept.window)) == (len(ages[0]), len(ages[1]))
        inner = np.histogram(ages[0], np.array(kept.edges, np.float32)[1:-1])[0]
        assert kept.reference[1:-2] == inner.tolist()[:-1]

    def test_the_wasserstein_distance_is_scipys(self, halves: tuple[Matrix, Matrix]) -> None:
        reference, window = halves
        window[:, FEATURES.index("Age")] += 8
        ages = [part[~np.isnan(part[:, 0])][:, 0] for part in halves]

        distance = self.of("Age", "kolmogorov-smirnov", reference, window).wasserstein

        assert distance == pytest.approx(stats.wasserstein_distance(*ages), rel=0.02)

    def test_categories_have_their_names_and_new_ones_none(self, halves: tuple[Matrix, Matrix]) -> None:
        reference, window = halves
        window[:3, FEATURES.index("Sex")] = 7

        kept = self.of("Sex", "chi-square", reference, window)

        assert kept.categories == ["male", "female", ""]
        assert (kept.reference[2], kept.window[2]) == (0, 3)
        assert self.of("Pclass", "chi-square", reference, window).categories == ["1", "2", "3"]

    def test_the_stability_index_grows_with_the_shift(self, halves: tuple[Matrix, Matrix]) -> None:
        reference, window = halves
        before = self.of("Fare", "kolmogorov-smirnov", reference, window).psi
        window[:, FEATURES.index("Fare")] *= 3

        assert before < 0.25 < self.of("Fare", "kolmogorov-smirnov", reference, window).psi

    def test_what_is_missing_is_counted(self, halves: tuple[Matrix, Matrix]) -> None:
        reference, window = halves
        window[:, FEATURES.index("Age")] = np.nan

        kept = self.of("Age", "missing", reference, window)

        assert (kept.categories, kept.window) == (["unknown", "known"], [200, 0])


def test_the_quality_of_a_window_is_told_by_feature(halves: tuple[Matrix, Matrix]) -> None:
    reference, window = halves
    window = window[:100]
    window[:, FEATURES.index("Age")] = [np.nan] * 50 + [200] * 25 + [-1] * 25
    window[:, FEATURES.index("Sex")] = [9] * 10 + [0] * 90

    kept = {feature.name: feature for feature in drift.assess_quality(reference, window)}

    age, sex = kept["Age"], kept["Sex"]
    assert (age.missing, age.unseen, age.below, age.above) == (0.5, 0, 0.25, 0.25)
    assert age.missing_in_reference == np.isnan(reference[:, 0]).mean()
    assert (sex.missing, sex.unseen, sex.above) == (0, 0.1, 0)
    assert set(kept) == set(FEATURES) - set(DERIVED)


def test_a_large_check_costs_little_more_than_alibi_detect_alone(champion: ModelVersion) -> None:
    matrix = features_services.matrix(champion.feature_batch)
    rng = np.random.default_rng(1)
    reference, window = (matrix[rng.integers(len(matrix), size=count)] for count in (50_000, 10_000))
    columns = [
        (KSDrift if name in ("Age", "Fare") else ChiSquareDrift,
         *(part[~np.isnan(part[:, place])][:, [place]] for part in (reference, window)))
        for place, name in enumerate(FEATURES) if name not in DERIVED
    ]  # fmt: skip

    def bare() -> None:
        for detector, before, now in columns:
            detector(before).predict(now, drift_type="feature")

    def seconds(call: Callable[[], object]) -> float:
        began = time.process_time()
        call()
        return time.process_time() - began

    times = [(seconds(bare), seconds(lambda: compare(reference, window, backend="alibi"))) for _ in range(9)]
    alone, ours = (min(each) for each in zip(*times, strict=True))
    assert ours <= 1.5 * alone


def test_a_window_without_power_is_refused(halves: tuple[Matrix, Matrix]) -> None:
    with pytest.raises(ValueError, match="no power"):
        compare(halves[0], halves[1][:49], backend="scipy")


class TestCheck:
    """A check as a job."""

    def check(self, *people: dict[str, object]) -> DriftCheck:
        if people:
            predictions.predict(predictions.parse_batch(people))
            log.drain()
        check = services.queue_check()
        services.check_drift(check)
        return check

    def test_few_predictions_are_not_enough_yet(self, champion: ModelVersion) -> None:
        check = self.check(*CAST)

        assert (check.state, check.drifted, check.window_size) == (State.SUCCEEDED, None, 4)
        assert not check.features.exists()

    def test_fifty_of_one_kind_have_drifted(self, champion: ModelVersion) -> None:
        check = self.check(*[OWEN] * 50)

        assert check.drifted
        assert check.features.get(name="Sex").drifted
        assert check.reference_size == champion.feature_batch.dataset.split["train"]

    def test_the_reference_travels_with_the_model(self, champion: ModelVersion) -> None:
        champion.feature_batch.passengers.all().delete()

        assert self.check(*[OWEN] * 50).drifted

    def test_a_reference_that_is_gone_fails_with_a_sentence(self, champion: ModelVersion) -> None:
        ModelVersion.objects.update(reference_file="models/gone.npz")

        check = services.queue_check()
        with pytest.raises(TitanicError, match="cannot be read"):
            services.check_drift(check)

        assert "gone.npz" in str(DriftCheck.objects.get().error)

    def test_a_file_does_not_hide_what_drifted(self, champion: ModelVersion) -> None:
        predictions.predict(predictions.parse_batch([OWEN] * 60))
        log.drain()
        Prediction.objects.bulk_create(row(champion, source=Channel.CSV) for _ in range(600))

        check = self.check()

        assert (check.window_size, check.drifted) == (60, True)

    def test_a_window_is_of_a_channel_a_model_and_a_span(self, champion: ModelVersion) -> None:
        now = timezone.now()
        for hours, source in ((1, Channel.API), (2, Channel.API), (3, Channel.FORM), (30, Channel.API)):
            moment = now - timedelta(hours=hours)
            Prediction.objects.bulk_create(row(champion, source=source, at=moment) for _ in range(10 * hours))

        def size(**window: Any) -> int | None:
            check = services.queue_check(**window)
            services.check_drift(check)
            return check.window_size

        assert size() == 360
        assert size(channel=Channel.FORM) == 30
        assert size(since=now - timedelta(hours=5)) == 60
        assert size(since=now - timedelta(hours=40), until=now - timedelta(hours=5)) == 300
        assert size(channel=Channel.API, until=now - timedelta(minutes=90), model_version=champion.version) == 320

    def test_a_longer_span_is_sampled_evenly(self, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(services, "LARGEST_WINDOW", 100)
        Prediction.objects.bulk_create(row(champion) for _ in range(400))

        check = services.queue_check(since=timezone.now() - timedelta(hours=1))
        services.check_drift(check)

        assert check.sampled_from == 400
        assert 50 < check.window_size <= 100

    def test_two_at_once_are_refused(self, champion: ModelVersion) -> None:
        services.queue_check()

        with pytest.raises(Conflict, match="under way"):
            services.queue_check()

    def test_without_a_champion_there_is_nothing_to_check(self, db: None) -> None:
        assert services.scheduled_check() is None


@pytest.fixture
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test in a second, with more false alarms."""
    monkeypatch.setattr(classifier.compare, "__kwdefaults__", {"permutations": 24})
    monkeypatch.setattr(classifier, "_FOREST", {**classifier._FOREST, "n_estimators": 25})
    monkeypatch.setattr(classifier, "FALSE_ALARM_RATE", 0.05)
    monkeypatch.setattr(classifier, "MOST_ROWS", 300)


@pytest.mark.usefixtures("few_permutations")
class TestAllFeaturesTogether:
    """A forest that tells window and reference apart finds drift that no feature shows by itself."""

    def test_titles_of_the_other_sex_are_found_and_named(self, halves: tuple[Matrix, Matrix]) -> None:
        reference, window = halves
        sex = FEATURES.index("Sex")
        window[:, sex] = np.random.default_rng(1).permutation(window[:, sex])
        assert "Sex" not in drifted(reference, window)

        together, *features = classifier.compare(reference, window, seed=1)

        assert (together.name, together.drifted) == (classifier.TOGETHER, True)
        assert {each.name for each in features if each.drifted} <= {"Sex", "Title"} != set()

    def test_unchanged_rows_are_not_told_apart(self, halves: tuple[Matrix, Matrix]) -> None:
        together, *features = classifier.compare(*halves, seed=1)

        assert 0.3 < together.statistic < 0.7
        assert not any(each.drifted for each in [together, *features])

    def test_a_feature_that_is_unknown_in_every_row_is_no_value(self, halves: tuple[Matrix, Matrix]) -> None:
        reference, window = (half.copy() for half in halves)
        reference[:, 0] = window[:, 0] = np.nan

        together, *features = classifier.compare(reference, window, seed=1)

        assert 0.3 < together.statistic < 0.7
        assert not next(each for each in features if each.name == FEATURES[0]).drifted

    def test_it_is_a_check_of_the_last_day(self, champion: ModelVersion) -> None:
        assert services.scheduled_multivariate_check().drifted is None
        predictions.predict(predictions.parse_batch([OWEN] * 60))
        log.drain()
        Prediction.objects.bulk_create(row(champion, at=timezone.now() - timedelta(days=2)) for _ in range(10))

        check = services.scheduled_multivariate_check()

        assert (check.method, check.window_size, check.drifted) == ("multivariate", 60, True)
        assert check.features.first().test == "classifier"
        assert not DriftCheck.objects.routine().exists()


def row(version: ModelVersion, *, source: Channel = Channel.API, at: datetime | None = None) -> Prediction:
    """A logged prediction."""
    at = at or timezone.now()
    fixed = {"model_version": version.version, "probability": 0.5, "threshold": 0.5, "predicted": True}
    id_ = UUID(int=lowest_id(at).int + new_id().int % 2**80)
    return Prediction(id=id_, source=source, created_at=at, **fixed, **OWEN)


class TestPages:
    """The history and a check, on pages and in files."""

    @pytest.fixture
    def check(self, champion: ModelVersion) -> DriftCheck:
        predictions.predict(predictions.parse_batch([OWEN] * 60))
        log.drain()
        check = services.queue_check()
        services.check_drift(check)
        return check

    def test_the_history_has_the_watch_and_a_map_of_the_checks(self, client: Client, check: DriftCheck) -> None:
        page = client.get("/monitoring/drift/").text

        assert 'id="watch"' in page
        assert f'href="{check.get_absolute_url()}"' in page
        assert page.count('class="heat"') == len({test.name for test in check.features.all()})
        assert "●" in page

    @pytest.mark.parametrize(
        ("watch", "text"),
        [({"calibration": None, "error": "The rows are gone."}, "The rows are gone."),
         ({"state": "drift", "exceeding": {"Fare": {}, "Age": {}}}, "in Age, Fare"),
         ({"state": "calm"}, "at most 0.700 false alarms"), ({}, "Not enough yet")],
    )  # fmt: skip
    def test_the_watch_is_told_in_a_sentence(
        self, client: Client, champion: ModelVersion, watch: dict[str, Any], text: str
    ) -> None:
        DriftWatch.objects.update_or_create(
            version=champion, defaults={"calibration": {"false_alarms": 0.7}, "since": timezone.now(), **watch}
        )

        assert text in client.get("/monitoring/drift/").text

    def test_a_check_shows_what_drifted_first_and_leads_on(self, client: Client, check: DriftCheck) -> None:
        page = client.get(check.get_absolute_url()).text

        first = page.index("<figcaption>")
        assert "drifted" in page[first : page.index("</figcaption>", first)]
        assert "Data quality" in page
        assert "<script" not in page[first:]
        (query,) = re.findall(r'/predictions/\?([^"]+)"', page)
        assert client.get(f"/predictions/?{html.unescape(query)}").text.count("/predictions/0") == 50

    def test_a_check_is_downloaded(self, client: Client, check: DriftCheck, api: APIClient) -> None:
        files = {form: client.get(f"{check.get_absolute_url()}check.{form}") for form in ("csv", "json", "html")}

        rows = list(csv.DictReader(io.StringIO(files["csv"].text)))
        male = next(line for line in rows if (line["feature"], line["bin"]) == ("Sex", "male"))
        assert (male["window"], male["drifted"]) == ("60", "True")
        assert json.loads(files["json"].content) == api.get(f"/api/v1/drift-checks/{check.pk}/").json()
        page = files["html"].text
        assert "<svg" in page
        assert not re.search(r"<script|<link|src=|href=|url\(|@import", page)
        assert all(f"check-{check.pk}.{form}" in file["Content-Disposition"] for form, file in files.items())
        assert client.get(f"{check.get_absolute_url()}check.exe").status_code == 404

    def test_an_older_check_without_distributions_is_shown(self, client: Client, check: DriftCheck) -> None:
        check.features.update(distribution=None)
        DriftCheck.objects.update(quality=[])

        assert "Chi-square" in client.get(check.get_absolute_url()).text
        assert client.get(f"{check.get_absolute_url()}check.csv").text.count("\r\n") == check.features.count() + 1


def test_a_check_leads_to_a_training_that_a_person_confirms(client: Client, champion: ModelVersion) -> None:
    check = DriftCheck.objects.create(version=champion, state=State.SUCCEEDED, drifted=True, window_size=60)

    page = client.get(check.get_absolute_url()).text
    question = client.get(f"{check.get_absolute_url()}retrain/")
    assert f'href="{check.get_absolute_url()}retrain/"' in page
    assert f"Retrain after {check}?" in question.text
    assert not TrainingRun.objects.filter(state=State.QUEUED).exists()

    answer = client.post(f"{check.get_absolute_url()}retrain/")

    run = TrainingRun.objects.get(state=State.QUEUED)
    assert (answer["Location"], run.feature_batch) == (run.get_absolute_url(), champion.feature_batch)
    assert client.post("/monitoring/drift/999/retrain/").status_code == 404


class TestRejections:
    """Rejected requests are counted by channel and reason."""

    def test_every_channel_is_counted_and_shown(self, client: Client, api: APIClient, champion: ModelVersion) -> None:
        api.post("/api/v1/predictions/", {**OWEN, "pclass": 9, "sex": None}, format="json")
        api.post("/api/v1/predictions/", {**OWEN, "pclass": 9}, format="json")
        api.post("/api/v1/predictions/batch/", {"instances": [OWEN, {**OWEN, "age": -1}]}, format="json")
        client.post("/predict", {"pclass": "9"})
        api.post("/v2/models/titanic/infer", {"inputs": []}, format="json")
        api.post("/api/v1/predictions/", OWEN, format="json")

        recent = rejections.recent()

        assert {row.channel for row in recent} >= {Channel.API, Channel.BATCH, Channel.FORM}
        assert recent[0].request_count >= recent[-1].request_count
        assert sum(row.request_count for row in recent if row.channel == Channel.API) >= 3
        for number, minutes in ((100, 20), (100 + sum(row.request_count for row in recent), 10)):
            at = timezone.now() - timedelta(minutes=minutes)
            counts = {"positive_count": 0, "request_count": 0, "error_count": 0, "latency_counts": []}
            LiveFigures.objects.create(node="a", at=at, prediction_count=number, **counts)
        page = client.get("/monitoring/drift/")
        assert all(row.reason in page.text and row.in_words in page.text for row in recent)
        # As many predictions were answered.
        assert sum(share for _row, share in page.context["rejections"]) == pytest.approx(0.5)

    def test_what_clients_send_adds_no_names(self, api: APIClient, champion: ModelVersion) -> None:
        for number in range(20):
            hostile = {f"field{number}": number, "pclass": f"value{number}", "sex": f"\0{number}"}
            assert api.post("/api/v1/predictions/", hostile, format="json").status_code == 400

        assert len(rejections.recent()) <= 4
        assert not any(character.isdigit() for row in rejections.recent() for character in row.reason)

    def test_without_redis_it_is_rejected_all_the_same(
        self, client: Client, api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away() -> NoReturn:
            raise ConnectionError

        monkeypatch.setattr("core.redis.client", away)

        assert api.post("/api/v1/predictions/", {**OWEN, "pclass": 9}, format="json").status_code == 400
        assert client.get("/monitoring/drift/").status_code == 200


class TestFileReport:
    """A scored file has a report of its own."""

    @pytest.fixture
    def scored(self, champion: ModelVersion, client: Client) -> ScoringJob:
        file = SimpleUploadedFile("sample.csv", SAMPLE.read_bytes())
        job = predictions.queue_scoring(file=file, by=make_user("owner", "analyst"))
        scoring.score(job)
        client.force_login(job.created_by)
        return job

    def test_it_is_made_once_and_shown(self, scored: ScoringJob, client: Client, api: APIClient) -> None:
        reports = services.queue_file_reports()
        assert services.queue_file_reports() == []
        (report,) = reports
        services.check_drift(report)

        assert (report.scoring_job, report.window_size) == (scored, scored.row_count - scored.problem_count)
        assert "Drift check" in client.get(f"/monitoring/drift/file/{scored.pk}/").text
        assert f"/monitoring/drift/file/{scored.pk}/" in client.get(scored.get_absolute_url()).text
        (answer,) = api.get(f"/api/v1/drift-checks/?scoring_job={scored.pk}").json()["results"]
        assert answer["scoring_job"] == scored.pk

    def test_it_is_seen_by_who_sees_the_file(self, scored: ScoringJob, settings: Any) -> None:
        settings.LOGIN_REQUIRED = True
        (report,) = services.queue_file_reports()
        stranger = Client()
        stranger.force_login(make_user("stranger", "analyst"))

        for address in (report.get_absolute_url(), f"/monitoring/drift/file/{scored.pk}/"):
            assert stranger.get(address).status_code == 404
        for address in ("/monitoring/drift/", "/runs/"):
            assert str(report) not in stranger.get(address).text

    def test_it_goes_with_the_file(self, scored: ScoringJob) -> None:
        services.queue_file_reports()

        scored.delete()

        assert not DriftCheck.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [({"model_version": 99}, "model_version"), ({"model_version": "1; DROP"}, "model_version"),
     ({"model_version": 10**30}, "model_version"), ({"channel": "csv"}, "channel"), ({"channel": "\0"}, "channel"),
     ({"since": "yesterday"}, "since"), ({"since": "2026-01-01\0"}, "since"), ({"since": None}, "since"),
     ({"since": "2026-01-02", "until": "2026-01-01"}, "until"), ({"method": "tarot"}, "method"),
     ({"scoring_job": 1}, "scoring_job"), ({"window": 5}, "window"), ([], "non_field_errors")],
)  # fmt: skip
def test_a_window_that_is_none_is_400(api: APIClient, champion: ModelVersion, body: Any, field: str) -> None:
    answer = api.post("/api/v1/drift-checks/", body, format="json")

    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, field)
    assert not DriftCheck.objects.exists()


def test_the_form_names_what_cannot_be_read(client: Client, champion: ModelVersion) -> None:
    for form in ({"model_version": "99"}, {"since": "x"}, {"channel": "csv"}, {"method": "\0"},
                 {"since": "2026-01-02T00:00", "until": "2026-01-01T00:00"}):  # fmt: skip
        answer = client.post("/monitoring/drift/check/", form)
        assert answer.status_code == 400, form
        assert "field__error" in answer.text
    assert not DriftCheck.objects.exists()
    assert client.post("/monitoring/drift/check/", {"channel": "api", "since": "2026-01-01T00:00"}).status_code == 302
    check = DriftCheck.objects.get()
    assert (check.channel, check.since.year, check.version) == ("api", 2026, champion)


@pytest.mark.parametrize("query", ["channel=csv", "model=x", "since=x", "drifted=maybe", "method=x", "scoring_job=-1"])
def test_a_filter_that_cannot_be_read_is_named(client: Client, api: APIClient, query: str) -> None:
    answer = api.get(f"/api/v1/drift-checks/?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, query.partition("=")[0])
    assert client.get(f"/monitoring/drift/?{query}").status_code == 200


def test_checks_are_filtered(api: APIClient, champion: ModelVersion) -> None:
    DriftCheck.objects.bulk_create([
        DriftCheck(version=champion, channel="api", drifted=True),
        DriftCheck(version=champion, channel="form", drifted=False, method="multivariate"),
    ])  # fmt: skip

    for query in ("channel=api", "drifted=true", "method=univariate", f"model={champion.version}&drifted=1"):
        (check,) = api.get(f"/api/v1/drift-checks/?{query}").json()["results"]
        assert check["channel"] == "api"
    assert api.get("/api/v1/drift-checks/?until=2026-01-01").json()["results"] == []
