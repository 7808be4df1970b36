"""How often one may ask: by token, by address, for all processes together."""

from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import ConnectionError as Away
from rest_framework.test import APIClient

from core import redis
from core.tokens import TokenThrottle
from predictions.api import PredictionBatch, PredictionExplanation, PredictionList
from tests.people import OWEN
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

URL = "/api/v1/predictions/"


@pytest.fixture
def two_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "THROTTLE_PREDICT", "2/h")
    monkeypatch.setattr(settings, "THROTTLE_ANON", "2/h")
    for view in (PredictionList, PredictionBatch, PredictionExplanation):
        monkeypatch.setattr(view, "throttle_classes", [TokenThrottle])


@pytest.mark.usefixtures("two_an_hour")
def test_a_token_that_asks_too_often_is_told_when_to_come_back(
    api: APIClient, champion: ModelVersion, django_user_model: Any
) -> None:
    codes = [api.post(URL, OWEN, format="json").status_code for _ in range(2)]
    refused = api.post(f"{URL}batch/", {"instances": [OWEN]}, format="json")

    assert codes == [201, 201]
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 3600
    assert refused.json()["errors"][0]["code"] == "throttled"
    assert api.get(URL).status_code == 200
    other = APIClient()
    token = AccessToken.objects.create(make_user("other"))[1]
    other.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    assert other.post(URL, OWEN, format="json").status_code == 201


@pytest.mark.usefixtures("two_an_hour")
def test_explanations_count_like_predictions(api: APIClient, champion: ModelVersion) -> None:
    url = f"{URL}{api.post(URL, OWEN, format='json').json()['id']}/"

    codes = [api.get(address).status_code for address in (f"{url}explanation/", url, f"{url}explanation/")]

    assert codes == [200, 200, 429]
    page = url.replace("/api/v1", "") + "why/"
    assert [Client().get(page).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.usefixtures("two_an_hour")
def test_who_guesses_tokens_is_slowed_by_address_whatever_a_header_says(champion: ModelVersion, api: APIClient) -> None:
    def guess(number: int, address: str = "192.0.2.1") -> Any:
        client = APIClient(HTTP_AUTHORIZATION=f"Token {number}", REMOTE_ADDR=address)
        return client.get(URL, HTTP_X_FORWARDED_FOR=f"198.51.100.{number}")

    assert [guess(number).status_code for number in range(3)] == [401, 401, 429]
    assert guess(9)["Retry-After"]
    assert guess(9, "192.0.2.2").status_code == 401
    assert api.get(URL, REMOTE_ADDR="192.0.2.1").status_code == 200


@pytest.mark.usefixtures("two_an_hour")
def test_the_form_is_slowed_by_address_with_a_page(champion: ModelVersion) -> None:
    client = Client(REMOTE_ADDR="192.0.2.3")
    form = {"pclass": "3", "sex": "male"}

    assert [client.post("/predict", form).status_code for _ in range(2)] == [200, 200]
    refused = client.post("/predict", form)
    assert refused.status_code == 429
    assert refused["Retry-After"]
    assert "Too many requests" in refused.content.decode()


@pytest.mark.usefixtures("two_an_hour")
def test_without_redis_everybody_is_let_through(
    api: APIClient, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise Away

    monkeypatch.setattr(MovingWindowRateLimiter, "hit", away)

    assert [api.post(URL, OWEN, format="json").status_code for _ in range(4)] == [201] * 4


def test_when_off_nothing_is_counted(api: APIClient, champion: ModelVersion) -> None:
    for _ in range(5):
        api.post(URL, OWEN, format="json")

    assert not redis.client().keys("throttle*")
