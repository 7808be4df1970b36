"""The self-test: the same passengers at every door, their probabilities compared to the last bit."""

import csv
import io
import json
from collections.abc import Callable, Sequence

import msgspec

from ingestion.compiled import Row
from ingestion.passenger import FIELD_NAMES, FIELDS, columns_of
from ingestion.table import Layout
from predictions import log, scorer, services, tensors
from predictions.models import Door
from titanic_site.lib.errors import Conflict
from training.models import ModelVersion

#: So many of the passengers that the champion learned from are asked about.
PASSENGERS = 8
Probabilities = list[float]


def compare() -> tuple[int, dict[str, bool]]:
    """The champion's version, and for each door whether it answers as the model itself does. Nothing is logged.

    Raises Conflict when the champion has no passengers, Unavailable when there is none.
    """
    champion = scorer.current()
    found = ModelVersion.objects.get(version=champion.version)
    rows: list[Row] = [tuple(row) for row in found.background[:PASSENGERS]]
    if not rows:
        message = f"{found} was made without passengers to ask about: train anew."
        raise Conflict(message)
    expected = champion.score(columns_of(rows)).probabilities.tolist()
    with log.rehearsal():
        answers = {door.value: ask(rows) for door, ask in DOORS.items()}
    # Somebody promoted while we asked: the doors are right to answer otherwise.
    if scorer.current().version != champion.version:
        return compare()
    return champion.version, {
        door: [value.hex() for value in found] == [value.hex() for value in expected] for door, found in answers.items()
    }


def _by_form(rows: Sequence[Row]) -> Probabilities:
    forms = [{name: "" if value is None else str(value) for name, value in _named(row).items()} for row in rows]
    return [services.predict_from_form(form).probability for form in forms]


def _by_json(rows: Sequence[Row]) -> Probabilities:
    answers = [services.predict(msgspec.json.decode(json.dumps(_named(row)))) for row in rows]
    return [msgspec.json.decode(msgspec.json.encode(given))["probability"] for given in answers]


def _by_batch(rows: Sequence[Row]) -> Probabilities:
    answers = services.predict_batch(msgspec.json.decode(json.dumps([_named(row) for row in rows])))
    return [given["probability"] for given in msgspec.json.decode(msgspec.json.encode(answers))]


def _by_tensors(rows: Sequence[Row]) -> Probabilities:
    columns = zip(FIELDS, zip(*rows, strict=True), strict=True)
    inputs = [
        {"name": rule.name, "shape": [len(rows)], "datatype": "FP64" if rule.is_numeric else "BYTES", "data": values}
        for rule, values in columns
    ]
    asked = tensors.Request.of(msgspec.json.decode(json.dumps({"inputs": inputs})))
    return [given.probability for given in services.answer(asked.rows(most=len(rows)), door=Door.V2)]


def _by_file(rows: Sequence[Row]) -> Probabilities:
    # Half a second to import, and only the self-test and the workers that score files need it.
    from predictions import scoring

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    layout = Layout.of(list(FIELD_NAMES), known=FIELD_NAMES, required=())
    answered = scoring.answer(layout.chunk(text.getvalue().encode(), line=0), scorer.current())
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
