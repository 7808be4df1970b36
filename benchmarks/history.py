"""The history of predictions, its page and its API, with ten thousand rows in the log and with ten million.

python -m benchmarks.history [ROWS]
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from titanic_site import embedded

FEW, MANY = 10_000, 10_000_000
CALLS = 30
ADDRESSES = ("/predictions/", "/predictions/?survived=1", "/api/v1/predictions/", "/api/v1/predictions/?model=1")


def measure(many: int = MANY) -> dict[str, float]:
    """The median time of a call with many rows, as a ratio to that with few."""
    with tempfile.TemporaryDirectory(prefix="titanic-bench-") as folder:
        layout = embedded.Layout(Path(folder) / "home")
        with embedded.in_use(layout):
            os.environ.update(DATABASE_URL=layout.database_url, REDIS_URL=layout.redis_url, SECRET_KEY="bench")
            os.environ.update(ALLOWED_HOSTS="testserver", LOGIN_REQUIRED="false")
            from benchmarks.serving import setup

            setup()
            from django.core.management import call_command
            from django.db import connections

            call_command("migrate", verbosity=0)
            _fill(FEW)
            few = _times()
            _fill(many - FEW)
            ratios = {f"{address}, with {many:,} rows": time_ / few[address] for address, time_ in _times().items()}
            connections.close_all()
    return ratios


def _fill(count: int) -> None:
    """Rows of the last days, in the order of their ids as the drain writes them."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO predictions_prediction (id, model_version, probability, threshold, survived, source,"
            " created_at, pclass, sex, sibsp, parch)"
            " SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000'"
            " || substr(md5(n::text || random()), 1, 16))::uuid, 1, n %% 100 / 100.0, 0.5, n %% 3 = 0,"
            " CASE n %% 4 WHEN 0 THEN 'csv' ELSE 'api' END, at, 3, 'male', 0, 0"
            " FROM (SELECT n, now() - interval '1 second' * (%s - n) * 0.01 AS at FROM generate_series(1, %s) n) made",
            [count, count],
        )
        cursor.execute("ANALYZE predictions_prediction")


def _times() -> dict[str, float]:
    """The median seconds of each address."""
    from django.contrib.auth.models import User
    from django.test import Client

    from titanic_site.models import AccessToken

    user, _is_new = User.objects.get_or_create(username="bench")
    client = Client(headers={"Authorization": f"Token {AccessToken.objects.create(user)[1]}"})
    found = {}
    for address in ADDRESSES:
        taken = []
        for _ in range(CALLS):
            began = time.perf_counter()
            assert client.get(address).status_code == 200
            taken.append(time.perf_counter() - began)
        found[address] = statistics.median(taken)
    return found


if __name__ == "__main__":
    for title, figure in measure(*map(int, sys.argv[1:])).items():
        print(f"{title:60}{figure:8.2f}")
