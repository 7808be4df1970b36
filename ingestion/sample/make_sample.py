"""Make sample.csv from the passenger list that lies inside the scikit-learn wheel.

Run: python ingestion/sample/make_sample.py    (writes beside itself)

Source: OpenML data set 40945, "Titanic", version 1; T. Cason's list from the Encyclopedia Titanica, public domain.
`boat`, `body` and `home.dest` are left out: lifeboat and body number are the label in disguise.
"""

import csv
import gzip
import io
from importlib.resources import files
from pathlib import Path

COLUMNS = (
    "PassengerId", "Survived", "Pclass", "Name", "Sex", "Age",
    "SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked",
)  # fmt: skip
ARFF = "data/openml/id_40945/data-v1-dl-16826755.arff.gz"
TARGET = Path(__file__).with_name("sample.csv")


def passenger_list() -> list[dict[str, str]]:
    """Read the 1,309 people in the list's order, one dict of text cells each; unknown is an empty string."""
    text = gzip.decompress(files("sklearn.datasets.tests").joinpath(ARFF).read_bytes()).decode()
    header, _, body = text.partition("@data\n")
    names = [line.split("'")[1] for line in header.splitlines() if line.startswith("@attribute")]
    rows = csv.reader(io.StringIO(body), quotechar='"', escapechar="\\", doublequote=False)
    return [dict(zip(names, ("" if cell == "?" else cell for cell in row), strict=True)) for row in rows]


def sample_csv() -> str:
    """Write the sample file: a header and 1,309 lines in the twelve columns of `COLUMNS`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, person in enumerate(passenger_list(), start=1):
        writer.writerow([number, *(person[column.lower()] for column in COLUMNS[1:])])
    return out.getvalue()


if __name__ == "__main__":
    TARGET.write_text(sample_csv(), encoding="utf-8")
    print(f"{TARGET.name}: {len(sample_csv().splitlines()) - 1} passengers")
