"""Start the product in a home of its own, apply each fault under traffic, and end with one table.

python -m drills [WORD ...] [--seconds N]; words choose the faults whose names have one, `upgrade` the upgrade from an
earlier version and back, `machines` several hosts, and `Compose` the services of docker-compose.yml. Exit code 1 when a
prediction was lost or doubled, something did not heal by itself, or a service did not do what it should.
"""

import argparse
import sys

from drills import compose_walk, machines, upgrade
from drills.drill import HEAD, drill
from drills.faults import FAULTS, Fault
from drills.product import running

#: Beside the faults.
OTHERS = {"upgrade": upgrade.drill, "machines": machines.drill, "Compose": compose_walk.drill}


def main() -> None:
    """Run the drills that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m drills", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of the faults' names; all when left out")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a fault that lasts goes on")
    options = parser.parse_args()

    def is_chosen(name: str) -> bool:
        return not options.words or any(word in name for word in options.words)

    chosen = [fault for fault in FAULTS if is_chosen(fault.name)]
    others = [drill_other for name, drill_other in OTHERS.items() if is_chosen(name)]
    if not chosen and not others:
        names = [*(fault.name for fault in FAULTS), *OTHERS]
        parser.error(f"there is no such fault; there are: {', '.join(names)}")
    are_survived = [drill_other() for drill_other in others]
    sys.exit(not (apply(chosen, seconds=options.seconds) and all(are_survived)))


def apply(chosen: list[Fault], *, seconds: float) -> bool:
    """Apply these faults to one product, and print the table; return whether it survived them all."""
    if not chosen:
        return True
    results = []
    with running() as product:
        for fault in chosen:
            if lack := fault.lacks(product):
                print(f"left out, {lack}: {fault.name}", flush=True)
                continue
            product.deploy(fault.deployment)
            print(f"drilling: {fault.name}", flush=True)
            results.append(drill(product, fault, seconds=seconds))
            for reason, count in results[-1].errors.most_common():
                print(f"  {count} x {reason}", flush=True)
    rows = [HEAD, *(result.cells() for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return all(result.is_survived for result in results)


if __name__ == "__main__":
    main()
