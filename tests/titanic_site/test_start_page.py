"""What is served while `up` starts."""

import pytest

from core.jobs import State
from titanic_site.runtime import start_page
from training.models import ModelVersion, TrainingRun


def test_it_shows_how_far_the_training_is(champion: ModelVersion) -> None:
    TrainingRun.objects.create(feature_batch=champion.feature_batch, state=State.RUNNING, progress=0.4)

    page = start_page.answer("/")

    assert page.status_code == 503
    assert 'http-equiv="refresh"' in page.text
    assert '<progress value="0.4' in page.text
    assert page.text.count("40.0%") == 2


@pytest.mark.django_db
def test_before_the_first_job_everything_waits() -> None:
    assert "<progress" not in start_page.answer("/").text
    assert "waiting" in start_page.answer("/").text


@pytest.mark.parametrize("path", ["/readyz", "/api/v1/predict", "/v2/health/ready"])
def test_programs_are_told_in_their_own_shape(path: str) -> None:
    answer = start_page.answer(path)

    assert answer.status_code == 503
    assert "starting" in answer.text
    assert answer["Content-Type"] == "application/json"
