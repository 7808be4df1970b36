"""What every benchmark returns, and how it takes times."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A measured value, what it is compared with, and a bound on their ratio; without a reference, on the value."""

    name: str
    value: float
    unit: str
    reference: "Figure | None" = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value in units of the reference."""
        return self.value / self.reference.value if self.reference else None

    @property
    def promise(self) -> str:
        """The bound in words; empty where nothing is promised."""
        unit = "x" if self.reference else self.unit
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{word} {bound:g} {unit}" for word, bound in bounds if bound is not None)

    @property
    def is_kept(self) -> bool | None:
        """Whether the promise holds; None where nothing is promised."""
        if not self.promise:
            return None
        compared = self.value if self.ratio is None else self.ratio
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low <= compared <= high

    def as_dict(self) -> dict[str, Any]:
        """The figure as results.json has it."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "reference": self.reference and {name: getattr(self.reference, name) for name in ("name", "value", "unit")},
            "ratio": self.ratio,
            "promise": self.promise,
            "is_kept": self.is_kept,
        }

    def __str__(self) -> str:
        return f"{self.value:,.4g} {self.unit}" if self.value < 1000 else f"{self.value:,.0f} {self.unit}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as one table of text."""
    words = {True: "yes", False: "NO", None: ""}
    rows = [("figure", "value", "reference", "ratio", "promise", "kept")]
    for figure in figures:
        reference = f"{figure.reference.name}: {figure.reference}" if figure.reference else ""
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}"
        rows.append((figure.name, str(figure), reference, ratio, figure.promise, words[figure.is_kept]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def best_seconds(*works: Callable[[], object], rounds: int) -> list[float]:
    """The shortest of several rounds of each; taken in turn, so that a busy machine is busy for all."""
    best = [math.inf] * len(works)
    for _ in range(rounds):
        for place, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def best_microseconds(*works: Callable[[], object], calls: int, rounds: int = 5) -> list[float]:
    """The same for works of microseconds, each called so often in a round that it can be measured."""

    def repeated(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                work()

        return run

    return [seconds / calls * 1e6 for seconds in best_seconds(*map(repeated, works), rounds=rounds)]
