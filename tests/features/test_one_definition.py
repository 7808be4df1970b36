"""One definition: through every channel the same passenger has the same features and the same answer."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rest_framework.test import APIClient

import features.services
from features.definition import FEATURES
from ingestion import contract
from ingestion.models import Dataset, Passenger
from ingestion.passenger import KEY, LABEL
from ingestion.schema import CONTRACT, FIELD_NAMES, FIELDS, as_row
from predictions import scorer, scoring
from predictions import services as predictions
from predictions.models import Prediction
from training.models import ModelVersion

#: By passenger: the features in their order, exactly, and the probability.
Answers = list[tuple[str, str]]
Row = Mapping[str, contract.Value]

#: A sender's text: no control characters, which the contract refuses, and no end of line, which is the file's.
TEXT = some.text(some.characters(exclude_categories=("Cc", "Cs")), max_size=40)
NAMES = some.sampled_from(
    ["Allen, Miss. Elisabeth Walton", "Braund, Mr. Owen Harris", "X, Mlle. Y", "X, the Countess. of (Y)", "X, Dr. Y",
     "O'Brien, Master. “Ünïcode”", 'Quote, Mrs. "Y", Z', "=1+1", "nobody"]
)  # fmt: skip


def values_of(field: contract.Field) -> some.SearchStrategy[Any]:
    """What a sender may put into a field."""
    if field.choices:
        known: some.SearchStrategy[Any] = some.sampled_from(field.choices)
    elif field.is_integer:
        known = some.integers(int(field.minimum or 0), int(field.maximum or 100))
    elif field.is_numeric:
        known = some.floats(field.minimum, field.maximum)
    else:
        known = NAMES | TEXT.map(lambda text: text[: field.max_length])
    return known if field.is_required else some.none() | known


PASSENGERS = (
    some.fixed_dictionaries({field.name: values_of(field) for field in FIELDS})
    .map(CONTRACT.check)
    .filter(lambda checked: not checked[1])
    .map(lambda checked: checked[0])
)


def exact(matrix: Sequence[float | None]) -> str:
    """Floats to their last bit; unknown is None."""
    return repr([None if value is None or value != value else float(value) for value in matrix])


def table(passengers: Sequence[Row]) -> bytes:
    """A file of them, with a key and a label."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([KEY, LABEL, *FIELD_NAMES])
    for number, row in enumerate(passengers, start=1):
        writer.writerow([number, number % 2, *("" if row[name] is None else row[name] for name in FIELD_NAMES)])
    return text.getvalue().encode()


def by_store(dataset: Dataset) -> Answers:
    batch = features.services.queue_build(dataset=dataset)
    features.services.build(batch)
    matrix = features.services.matrix(batch)
    ids = Passenger.objects.of(dataset).values_list("passenger_id", flat=True)
    assert b"".join(batch.stored.row(passenger_id).tobytes() for passenger_id in ids) == matrix.tobytes()
    probabilities = scorer.champion().artifact.score(matrix)
    return [(exact(row), repr(float(answer))) for row, answer in zip(matrix.tolist(), probabilities, strict=True)]


def by_batch_api(api: APIClient, passengers: Sequence[Row]) -> Answers:
    response = api.post("/api/v1/predictions/batch/", {"instances": passengers}, format="json")
    assert response.status_code == 200, response.content
    return [_answer(prediction) for prediction in response.json()["predictions"]]


def by_single_api(api: APIClient, passengers: Sequence[Row]) -> Answers:
    responses = [api.post("/api/v1/predictions/", row, format="json") for row in passengers]
    assert {response.status_code for response in responses} <= {201}
    return [_answer(response.json()) for response in responses]


def by_form(client: Client, passengers: Sequence[Row]) -> Answers:
    answers = []
    for row in passengers:
        posted = {name: "" if value is None else value for name, value in row.items()}
        answer = client.post("/predict", posted).context["answer"]
        answers.append((exact([value for _name, value in answer.features.items()]), repr(answer.probability)))
    return answers


def by_file(passengers: Sequence[Row]) -> Answers:
    file = SimpleUploadedFile("x.csv", table(passengers))
    job = predictions.queue_scoring(file=file, by=None)
    scoring.score(job)
    job.refresh_from_db()
    assert job.problem_count == 0
    with io.StringIO(b"".join(scoring.results(job)).decode(), newline="") as results:
        probabilities = [row["predicted_probability"] for row in csv.DictReader(io.StringIO(results.read()))]
    logged = Prediction.objects.filter(scoring_job_id=job.pk).order_by("pk")
    derived = [exact([value for _name, value in scorer.features_of_passenger(as_row(row)).items()]) for row in logged]
    return list(zip(derived, probabilities, strict=True))


def _answer(prediction: Mapping[str, Any]) -> tuple[str, str]:
    assert tuple(prediction["features"]) == FEATURES
    return exact(list(prediction["features"].values())), repr(prediction["probability"])


# Fixtures live through all examples: each loads a table of its own.
@settings(max_examples=10, suppress_health_check=[*HealthCheck])
@given(passengers=some.lists(PASSENGERS, min_size=1, max_size=8))
def test_generated_passengers_are_the_same_through_every_channel(
    champion: ModelVersion, api: APIClient, client: Client, load: Callable[..., Dataset], passengers: list[Row]
) -> None:
    expected = by_batch_api(api, passengers)

    assert by_single_api(api, passengers) == expected
    assert by_form(client, passengers) == expected
    assert by_file(passengers) == expected
    assert by_store(load(table(passengers))) == expected


def test_words_and_markers_mean_the_same_through_every_channel(
    champion: ModelVersion, api: APIClient, client: Client
) -> None:
    plain = dict.fromkeys(FIELD_NAMES) | {"pclass": 3, "sex": "male", "embarked": "S", "sibsp": 0, "parch": 0}
    spelt = plain | {"pclass": "3rd", "sex": "M", "embarked": "southampton", "cabin": "NA", "ticket": "-", "age": "nan"}

    expected = by_single_api(api, [plain])

    assert by_single_api(api, [spelt]) == expected
    assert by_batch_api(api, [spelt]) == expected
    assert by_form(client, [spelt]) == expected
    assert by_file([spelt]) == expected


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.long), 20])
def test_the_real_passengers_are_the_same_through_every_channel(
    step: int, champion: ModelVersion, api: APIClient, client: Client
) -> None:
    """Those that are asked about one by one are every so many of them."""
    dataset = champion.feature_batch.dataset
    passengers = list(Passenger.objects.of(dataset).values(*FIELD_NAMES))

    expected = by_batch_api(api, passengers)

    assert len(expected) == 1309
    assert by_store(dataset) == expected
    assert by_file(passengers) == expected
    assert by_single_api(api, passengers[::step]) == expected[::step]
    assert by_form(client, passengers[::step]) == expected[::step]
