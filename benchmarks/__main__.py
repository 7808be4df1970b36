"""Run the benchmarks, end with one table, and write `results.json`.

python -m benchmarks [NAME ...] [--quick] [--results PATH]; without names all but `hour`, `pages` and `costs`. With
`--quick` each runs on tiny sizes: it shows that it works, its figures mean nothing.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import product
from benchmarks.figure import Figure, table

RESULTS = Path(__file__).with_name("results.json")
#: In this order: the first measure in this process, those from `serving` on share one running product.
NAMES = (
    "one_passenger",
    "explanation",
    "drift",
    "drift_false_alarms",
    "search",
    "features",
    "ingest",
    "history",
    "pages",
    "serving",
    "scoring",
    "costs",
    "hour",
)
#: One takes an hour, one fills the home, and one is what docs/scaling.md reckons with.
NAMED_ONLY = frozenset({"hour", "pages", "costs"})


def main(*names: str) -> None:
    """Measure the named benchmarks, and those that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, in seconds: for tests")
    parser.add_argument("--results", type=Path, help=f"{RESULTS} when left out; nothing when quick")
    options = parser.parse_args([*names, *sys.argv[1:]])
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    chosen = [name for name in NAMES if name in options.names or (not options.names and name not in NAMED_ONLY)]
    figures: dict[str, list[Figure]] = {}
    with product.home():
        for name in chosen:
            print(f"measuring {name}", flush=True)
            figures[name] = import_module(f"benchmarks.{name}").measure(is_quick=options.quick)
    print(table([figure for group in figures.values() for figure in group]))
    results = {name: [figure.as_dict() for figure in group] for name, group in figures.items()}
    if path := options.results or (None if options.quick else RESULTS):
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
