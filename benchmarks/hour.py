"""An hour of load: whether answers a second stay, and what a web process comes to hold.

python -m benchmarks.hour [HOME] [MINUTES]; of each minute fifty seconds of predictions, among them batches, and five of
the empty view in between, so that whatever else the machine does shows in both.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.load import Load
from benchmarks.serving import BATCH_ROWS, PEOPLE, load, people, running, setup, web_memory

TURNS, SECONDS, EMPTY_SECONDS, BATCHES = 5, 9.8, 1.0, 1.0
#: One such part of the minutes at either end is compared.
SHARE = 6


def measure(home: Path, *, minutes: int = 60) -> dict[str, float]:
    """Rates of the last minutes as shares of the first, and the memory (MB) of the largest web process."""
    asked = people()
    batch = {"instances": [asked[number % PEOPLE] for number in range(BATCH_ROWS)]}
    shares, rates, memory = [], [], []
    with running(home) as (port, token):
        for minute in range(minutes):
            empty, ours = Load(0.0), Load(0.0)
            for _ in range(TURNS):
                empty += load(port, "/api/v1/empty/", asked, token=token, seconds=EMPTY_SECONDS)
                ours += load(port, "/api/v1/predictions/", asked, token=token, seconds=SECONDS)
            load(port, "/api/v1/predictions/batch/", [batch], token=token, seconds=BATCHES)
            shares.append(ours.rate / empty.rate)
            rates.append(ours.rate)
            memory.append(max(web_memory(port)))
            print(f"{minute:3}{rates[-1]:10,.0f}/s{shares[-1]:8.3f}{memory[-1]:8.1f} MB", flush=True)
    ends = max(minutes // SHARE, 1)
    return {
        "rate, last / first": median(rates[-ends:]) / median(rates[:ends]),
        "share of the empty view, last / first": median(shares[-ends:]) / median(shares[:ends]),
        "largest web process, MB": max(memory),
        "largest web process at the end, MB": memory[-1],
    }


def main() -> None:
    setup()
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as name:
        home = Path(sys.argv[1] if len(sys.argv) > 1 else name).resolve()
        for figure, value in measure(home, minutes=int(sys.argv[2]) if len(sys.argv) > 2 else 60).items():
            print(f"{figure:42}{value:10,.3f}")


if __name__ == "__main__":
    main()
