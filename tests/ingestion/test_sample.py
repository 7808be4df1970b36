"""The committed sample is what its script makes, and nothing in it gives the answer away."""

import csv

from ingestion.sample import make_sample


def test_the_committed_file_is_what_the_script_makes() -> None:
    assert make_sample.TARGET.read_text(encoding="utf-8") == make_sample.sample_csv()


def test_it_holds_everybody_in_the_twelve_columns(sample: str) -> None:
    rows = list(csv.DictReader(sample.splitlines()))

    assert len(rows) == 1309
    assert tuple(rows[0]) == make_sample.COLUMNS
    assert sum(row["Survived"] == "1" for row in rows) == 500


def test_no_column_is_the_label_in_disguise() -> None:
    assert not {"boat", "body", "home.dest"} & {column.lower() for column in make_sample.COLUMNS}
