"""The consistency check: send the same passengers through every channel and compare the probabilities bit by bit."""

import csv
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from django.core.handlers.wsgi import WSGIRequest
from django.http import QueryDict
from django.utils import timezone
from django.utils.http import urlencode

from core.errors import Conflict, Invalid, TitanicError
from core.messages import Message
from core.renderers import JSONRenderer
from ingestion.contract import Row
from ingestion.schema import FIELD_NAMES, FIELDS, columns_from_rows
from ingestion.table import read
from predictions import api, scorer, services
from predictions.models import Channel
from predictions.open_inference import views
from training.models import ModelVersion


class ChannelResult(msgspec.Struct, frozen=True):
    """Whether a channel answers as the model itself does; `error` says why it did not answer at all."""

    channel: str
    is_consistent: bool
    error: Message | str = ""

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
        for channel in Channel:
            reason: Message | str = ""
            try:
                is_consistent = [value.hex() for value in send(channel, rows)] == expected
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
        raise Conflict(Message("%(version)s has no background rows to send: retrain.") % {"version": version})
    first = zip(FIELDS, rows[0], strict=True)
    sparse = tuple(value if field.is_required else field.default for field, value in first)
    # In a file a row without any value is a blank line.
    return [*rows, sparse] if any(value is not None for value in sparse) else rows


def send(channel: Channel, rows: Sequence[Row]) -> list[float]:
    """Send passengers through a channel, and return their probabilities."""
    named = [dict(zip(FIELD_NAMES, row, strict=True)) for row in rows]
    match channel:
        case Channel.FORM:
            texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in named]
            # As a browser sends the form and its view reads it.
            posted = [QueryDict(urlencode(fields)).dict() for fields in texts]
            answers = [answer for form in posted for answer in services.predict(services.parse_form(form))]
            return [answer.probability for answer in answers]
        case Channel.API:
            return [_post(api.PredictionList(), row)["probability"] for row in named]
        case Channel.BATCH:
            body = _post(api.PredictionBatch(), {"instances": named})
            return [answer["probability"] for answer in body["predictions"]]
        case Channel.V2:
            inputs = [
                {"name": field.name, "shape": [len(rows)], "datatype": "FP64" if field.is_numeric else "BYTES",
                 "data": [row[field.name] for row in named]}
                for field in FIELDS
            ]  # fmt: skip
            body = _post(views.Infer(), {"inputs": inputs, "outputs": [{"name": "probability"}]})
            return list(body["outputs"][0]["data"])
        case Channel.CSV:
            # It takes half a second to import, and only this check and the workers that score files need it.
            from predictions import scoring

            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([FIELD_NAMES, *rows])
            chunk = next(read(io.BytesIO(text.getvalue().encode()), fields=FIELDS, required=()))
            number = partial(scoring.prediction_ids, job_id=0, moment=timezone.now())
            scored = scoring.score_chunk(chunk, scorer.champion(), number=number)
            # As the results' file writes them.
            written = scored.results.select(scoring.PROBABILITY).write_csv(include_header=False)
            return [float(line) for line in written.splitlines()]


def _post(view: Any, body: object) -> Any:
    """Send a body through a view's parser, method and renderer; authentication and throttling are left out."""
    encoded = msgspec.json.encode(body)
    environ = {
        "REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(encoded)),
        "wsgi.input": io.BytesIO(encoded),
    }  # fmt: skip
    response = view.post(view.initialize_request(WSGIRequest(environ)))
    return msgspec.json.decode(JSONRenderer().render(response.data))
