"""The history of predictions, its page and its API, with ten million rows in the log and with ten thousand.

python -m benchmarks.history
"""

import statistics
import time

from benchmarks.__main__ import main
from benchmarks.figure import Figure

FEW, MANY, CALLS = 10_000, 10_000_000, 30
QUICK_FEW, QUICK_MANY, QUICK_CALLS = 100, 1_000, 2
ADDRESSES = ("/predictions/", "/predictions/?survived=1", "/api/v1/predictions/", "/api/v1/predictions/?model=1")
#: Rows of the last days, in the order of their ids, as they are written.
FILL = """
INSERT INTO predictions_prediction (id, model_version, probability, threshold, predicted, source,
    created_at, pclass, sex, sibsp, parch)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000'
    || substr(md5(n::text || random()), 1, 16))::uuid, 1, n %% 100 / 100.0, 0.5, n %% 3 = 0,
    CASE n %% 4 WHEN 0 THEN 'csv' ELSE 'api' END, at, 3, 'male', 0, 0
FROM (SELECT n, now() - interval '1 second' * (%s - n) * 0.01 AS at FROM generate_series(1, %s) n) made
"""


def measure(*, is_quick: bool) -> list[Figure]:
    """The median time of a call with many rows, as a ratio to that with few."""
    few, many, calls = (QUICK_FEW, QUICK_MANY, QUICK_CALLS) if is_quick else (FEW, MANY, CALLS)
    fill_log(few)
    reference = _milliseconds(calls)
    fill_log(many - few)
    figures = [
        Figure(
            f"GET {address} with {many:,} rows",
            milliseconds,
            "ms",
            reference=Figure(f"with {few:,}", reference[address], "ms"),
            at_most=2,
        )
        for address, milliseconds in _milliseconds(calls).items()
    ]
    execute("TRUNCATE predictions_prediction CASCADE")
    return figures


def fill_log(count: int) -> None:
    """Write so many predictions of the last hours."""
    execute(FILL, count, count)
    execute("ANALYZE predictions_prediction")


def execute(statement: str, *values: int) -> None:
    """Run a statement of SQL."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)


def _milliseconds(calls: int) -> dict[str, float]:
    """The median time of each address."""
    from django.contrib.auth.models import User
    from django.test import Client

    from titanic_site.models import AccessToken

    user = User.objects.create_superuser("bench")
    client = Client(headers={"Authorization": f"Token {AccessToken.objects.create(user)[1]}"})
    client.force_login(user)
    medians = {}
    for address in ADDRESSES:
        times = []
        for _ in range(calls):
            start = time.perf_counter()
            assert client.get(address).status_code == 200
            times.append(time.perf_counter() - start)
        medians[address] = statistics.median(times) * 1e3
    # The product's own administrator is made only where there is none.
    user.delete()
    return medians


if __name__ == "__main__":
    main("history")
