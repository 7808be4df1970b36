"""The self-test: the same passengers at every door, their probabilities compared to the last bit."""

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from django.core.handlers.wsgi import WSGIRequest
from django.http import QueryDict
from django.utils import timezone
from django.utils.http import urlencode

from core.errors import Conflict, Invalid, TitanicError
from core.renderers import JSONRenderer
from ingestion.json_validation import Row
from ingestion.passenger import FIELD_NAMES, FIELDS, columns_from_rows
from ingestion.table import Layout
from predictions import api, log, scorer, services
from predictions.models import Door
from predictions.open_inference import views
from training.models import ModelVersion

Probabilities = list[float]


class Compared(NamedTuple):
    """Of which model, for each door whether it answers as the model itself does, and why one did not answer at all."""

    model_version: int
    doors: dict[str, bool]
    refusals: dict[str, str]


def compare() -> Compared:
    """Ask the same passengers at every door; nothing is logged.

    Raises Conflict when the champion has no passengers, Unavailable when there is none.
    """
    champion = scorer.current()
    rows = _passengers(ModelVersion.objects.get(version=champion.version))
    expected = [value.hex() for value in champion.score(columns_from_rows(rows)).probabilities.tolist()]
    doors: dict[str, bool] = {}
    refusals: dict[str, str] = {}
    with log.rehearsal():
        for door, ask in DOORS.items():
            try:
                doors[door.value] = [value.hex() for value in ask(rows)] == expected
            except TitanicError as error:
                doors[door.value] = False
                refusals[door.value] = error.in_words() if isinstance(error, Invalid) else error.message
    # Somebody promoted while we asked: the doors are right to answer otherwise.
    if scorer.current().version != champion.version:
        return compare()
    return Compared(champion.version, doors, refusals)


def _passengers(version: ModelVersion) -> list[Row]:
    """Those the champion learned from, and one of whom nothing is known but what must be."""
    rows: list[Row] = [tuple(row) for row in version.background]
    if not rows:
        message = f"{version} was made without passengers to ask about: train anew."
        raise Conflict(message)
    required = zip(FIELDS, rows[0], strict=True)
    return [*rows, tuple(value if rule.is_required else rule.default for rule, value in required)]


def _by_form(rows: Sequence[Row]) -> Probabilities:
    return [services.predict_from_form(_posted(row)).probability for row in rows]


def _posted(row: Row) -> dict[str, str]:
    """What the page's view hands on of a form that a browser sent."""
    texts = {name: "" if value is None else str(value) for name, value in _named(row).items()}
    return {name: str(text) for name, text in QueryDict(urlencode(texts)).items()}


def _by_json(rows: Sequence[Row]) -> Probabilities:
    return [_post(api.PredictionList(), _named(row))["probability"] for row in rows]


def _by_batch(rows: Sequence[Row]) -> Probabilities:
    answered = _post(api.PredictionBatch(), {"instances": [_named(row) for row in rows]})
    return [given["probability"] for given in answered["predictions"]]


def _by_tensors(rows: Sequence[Row]) -> Probabilities:
    columns = zip(FIELDS, zip(*rows, strict=True), strict=True)
    inputs = [
        {"name": rule.name, "shape": [len(rows)], "datatype": "FP64" if rule.is_numeric else "BYTES", "data": values}
        for rule, values in columns
    ]
    answered = _post(views.Infer(), {"inputs": inputs, "outputs": [{"name": "probability"}]})
    probabilities: Probabilities = answered["outputs"][0]["data"]
    return probabilities


def _post(view: Any, body: object) -> Any:
    """What a view's own parser, method and renderer make of a body; who may ask, and how often, is left out."""
    sent = msgspec.json.encode(body)
    environ = {
        "REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(sent)),
        "wsgi.input": io.BytesIO(sent),
    }  # fmt: skip
    response = view.post(view.initialize_request(WSGIRequest(environ)))
    return msgspec.json.decode(JSONRenderer().render(response.data))


def _by_file(rows: Sequence[Row]) -> Probabilities:
    # Half a second to import, and only the self-test and the workers that score files need it.
    from predictions import scoring

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    layout = Layout.of(list(FIELD_NAMES), known=FIELD_NAMES, required=())
    number = partial(scoring.ids, job_id=0, moment=timezone.now())
    answered = scoring.answer(layout.chunk(text.getvalue().encode(), line=0), scorer.current(), number=number)
    written = answered.results.select("probability").write_csv(include_header=False)
    return [float(line) for line in written.splitlines()]


def _named(row: Row) -> dict[str, object]:
    return dict(zip(FIELD_NAMES, row, strict=True))


#: How each door is asked.
DOORS: dict[Door, Callable[[Sequence[Row]], Probabilities]] = {
    Door.FORM: _by_form,
    Door.API: _by_json,
    Door.BATCH: _by_batch,
    Door.V2: _by_tensors,
    Door.CSV: _by_file,
}
