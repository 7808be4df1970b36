"""JSON answers leave nothing behind."""

import gc
from collections.abc import Iterator

import pytest
from django.test import RequestFactory
from django.test.client import ClientHandler
from rest_framework.request import Request
from rest_framework.response import Response

from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    # What other tests hold is not looked at.
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def test_an_answer_needs_no_garbage_collection(champion: ModelVersion, without_collector: None) -> None:
    """A batch's body and answers hang on these two: waiting for the collector they make a process grow without end."""
    token = AccessToken.objects.create(make_user("caller"))[1]
    request = RequestFactory(headers={"Authorization": f"Token {token}"}).post(
        "/api/v1/predictions/batch/", {"instances": [{"pclass": 1, "sex": "male"}]}, "application/json"
    )

    # The test client itself would tie its answer in a circle.
    status = ClientHandler()(request.environ).status_code

    assert status == 200
    assert [each for each in gc.get_objects() if type(each) in (Request, Response)] == []
