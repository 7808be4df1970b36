"""Cells that leave the house: no formula gets out bare, whichever way it takes, and each comes back whole."""

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from core.csv_injection import escape_row, escaped_column, unescape

# Mostly what matters, and now and then anything at all.
TELLING = some.sampled_from("=+-@＝＋－＠ \t\r\n\0\x1c\x85\u00a0\u3000\ufeff'19.e")
TEXTS = some.text(TELLING | some.characters(codec="utf-8"))


@pytest.mark.parametrize("sign", "=+-@＝＋－＠")
@pytest.mark.parametrize("before", ["", " ", "   ", "\t", "\r", "\n", " \t", "\0", "\u00a0", "\u3000", "\ufeff"])
def test_a_formula_has_a_quote_before_it(before: str, sign: str) -> None:
    assert escape_row([f"{before}{sign}A1"]) == [f"'{before}{sign}A1"]


@pytest.mark.parametrize("control", "\t\r\n")
def test_so_has_what_begins_with_a_tab_or_a_line_end(control: str) -> None:
    assert escape_row([f"{control}Allen"]) == [f"'{control}Allen"]


@pytest.mark.parametrize("cell", ["-1.5", "+3", "-1e-05", " -1.5", " Allen", "O'Brien-Smith", "a=b", "22", ""])
def test_numbers_and_words_stay_as_they_are(cell: str) -> None:
    assert escape_row([cell]) == [cell]


@given(some.lists(TEXTS, min_size=1))
@example(["\x1c=1", "\x85=1", "٣", "-٣", "-1\n", " -1"])
def test_a_column_at_once_and_a_cell_at_a_time_are_written_alike(cells: list[str]) -> None:
    column = pl.DataFrame({"x": cells}).select(escaped_column("x"))["x"]

    assert [cell or "" for cell in column] == escape_row(cells)


@given(TEXTS.filter(lambda cell: not cell.startswith("'")))
def test_what_went_out_comes_back_as_it_was(cell: str) -> None:
    (written,) = escape_row([cell])

    assert unescape(written) == cell
