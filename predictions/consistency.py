"""The consistency check: send the same passengers through every channel and compare the probabilities bit by bit."""

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from django.core.handlers.wsgi import WSGIRequest
from django.http import QueryDict
from django.utils import timezone
from django.utils.http import urlencode

from core.errors import Conflict, Invalid, TitanicError
from core.renderers import JSONRenderer
from ingestion.json_validation import Row
from ingestion.schema import FIELD_NAMES, FIELDS, columns_from_rows
from ingestion.table import read
from predictions import api, scorer, services
from predictions.models import Channel
from predictions.open_inference import views
from training.models import ModelVersion

Probabilities = list[float]


class ChannelResult(msgspec.Struct, frozen=True):
    """Whether a channel answers as the model itself does; `error` says why it did not answer at all."""

    channel: str
    is_consistent: bool
    error: str = ""

    @property
    def label(self) -> str:
        return str(Channel(self.channel).label)


def compare() -> tuple[int, list[ChannelResult]]:
    """Send the champion's background passengers through every channel, without logging them.

    Returns the champion's version and each channel's result.
    Raises Conflict when the champion has no passengers, Unavailable when there is none.
    """
    champion = scorer.champion()
    rows = passengers(ModelVersion.objects.get(version=champion.version))
    expected = [value.hex() for value in champion.score(columns_from_rows(rows)).probabilities.tolist()]
    results = []
    with services.dry_run():
        for channel, send in CHANNELS.items():
            reason = ""
            try:
                is_consistent = [value.hex() for value in send(rows)] == expected
            except TitanicError as error:
                is_consistent = False
                reason = error.in_words() if isinstance(error, Invalid) else error.message
            results.append(ChannelResult(channel.value, is_consistent, reason))
    # Another version was promoted meanwhile: the channels answer with that one.
    if scorer.champion().version != champion.version:
        return compare()
    return champion.version, results


def passengers(version: ModelVersion) -> list[Row]:
    """Take the champion's background passengers, and one of whom only the required fields are known."""
    rows: list[Row] = [tuple(row) for row in version.background]
    if not rows:
        message = f"{version} has no background rows to send: retrain."
        raise Conflict(message)
    first = zip(FIELDS, rows[0], strict=True)
    return [*rows, tuple(value if field.is_required else field.default for field, value in first)]


def _by_form(rows: Sequence[Row]) -> Probabilities:
    texts = [{name: "" if value is None else str(value) for name, value in _named(row).items()} for row in rows]
    # As a browser sends the form and its view reads it.
    posted = [{name: str(text) for name, text in QueryDict(urlencode(fields)).items()} for fields in texts]
    return [services.predict(services.parse_form(form))[0].probability for form in posted]


def _by_tensors(rows: Sequence[Row]) -> Probabilities:
    columns = zip(FIELDS, zip(*rows, strict=True), strict=True)
    inputs = [
        {"name": field.name, "shape": [len(rows)], "datatype": "FP64" if field.is_numeric else "BYTES", "data": values}
        for field, values in columns
    ]
    response = _post(views.Infer(), {"inputs": inputs, "outputs": [{"name": "probability"}]})
    probabilities: Probabilities = response["outputs"][0]["data"]
    return probabilities


def _post(view: Any, body: object) -> Any:
    """Send a body through a view's parser, method and renderer; authentication and throttling are left out."""
    encoded = msgspec.json.encode(body)
    environ = {
        "REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(encoded)),
        "wsgi.input": io.BytesIO(encoded),
    }  # fmt: skip
    response = view.post(view.initialize_request(WSGIRequest(environ)))
    return msgspec.json.decode(JSONRenderer().render(response.data))


def _by_file(rows: Sequence[Row]) -> Probabilities:
    # It takes half a second to import, and only this check and the workers that score files need it.
    from predictions import scoring

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([FIELD_NAMES, *rows])
    chunk = next(read(io.BytesIO(text.getvalue().encode()), known=FIELD_NAMES, required=()))
    number = partial(scoring.prediction_ids, job_id=0, moment=timezone.now())
    scored = scoring.score_chunk(chunk, scorer.champion(), number=number)
    written = scored.results.select("probability").write_csv(include_header=False)
    return [float(line) for line in written.splitlines()]


def _named(row: Row) -> dict[str, object]:
    return dict(zip(FIELD_NAMES, row, strict=True))


#: How to send passengers through each channel.
CHANNELS: dict[Channel, Callable[[Sequence[Row]], Probabilities]] = {
    Channel.FORM: _by_form,
    Channel.API: lambda rows: [_post(api.PredictionList(), _named(row))["probability"] for row in rows],
    Channel.BATCH: lambda rows: [
        answer["probability"]
        for answer in _post(api.PredictionBatch(), {"instances": [_named(row) for row in rows]})["predictions"]
    ],
    Channel.V2: _by_tensors,
    Channel.CSV: _by_file,
}
