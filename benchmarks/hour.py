"""An hour of load: whether answers a second stay, and what a web process comes to hold.

python -m benchmarks.hour; of each minute fifty seconds of predictions, among them batches, and five of the empty view
in between, so that whatever else the machine does shows in both.
"""

from statistics import median

from benchmarks import product
from benchmarks.__main__ import main
from benchmarks.figure import Figure
from benchmarks.load import Load, load
from benchmarks.serving import BATCH, BATCH_ROWS, EMPTY, PREDICTIONS

MINUTES, QUICK_MINUTES = 60, 2
TURNS, SECONDS, EMPTY_SECONDS, BATCH_SECONDS = 5, 9.8, 1.0, 1.0
#: One such part of the minutes at either end is compared.
SHARE = 6


def measure(*, is_quick: bool) -> list[Figure]:
    """Rates of the last minutes beside those of the first, and the memory of the largest web process."""
    from benchmarks.passengers import people

    running = product.running(is_quick=is_quick)
    passengers = people()
    batch = {"instances": [passengers[number % len(passengers)] for number in range(BATCH_ROWS)]}
    pace = 0.01 if is_quick else 1.0
    minutes = QUICK_MINUTES if is_quick else MINUTES
    shares, rates, memory = [], [], []
    for minute in range(minutes):
        empty, ours = Load(), Load()
        for _ in range(TURNS):
            empty += load(running.port, EMPTY, passengers, running.token, seconds=pace * EMPTY_SECONDS)
            ours += load(running.port, PREDICTIONS, passengers, running.token, seconds=pace * SECONDS)
        load(running.port, BATCH, [batch], running.token, seconds=pace * BATCH_SECONDS)
        shares.append(ours.rate / empty.rate)
        rates.append(ours.rate)
        memory.append(running.memory("granian", kind="pss"))
        print(f"{minute:3}{rates[-1]:10,.0f}/s{shares[-1]:8.3f}{memory[-1]:8.1f} MB", flush=True)
    ends = max(minutes // SHARE, 1)
    return [
        Figure(
            "predictions, last minutes",
            median(rates[-ends:]),
            "/s",
            reference=Figure("first minutes", median(rates[:ends]), "/s"),
            at_least=0.95,
        ),
        Figure(
            "predictions / empty view, last minutes",
            median(shares[-ends:]),
            "",
            reference=Figure("first minutes", median(shares[:ends]), ""),
        ),
        Figure("largest web process in the hour", max(memory), "MB", at_most=200),
        Figure("largest web process at the end", memory[-1], "MB"),
    ]


if __name__ == "__main__":
    main("hour")
