"""Every page of the product and every list of the admin, with a million predictions and a thousand of all other rows.

python -m benchmarks.pages; as an administrator sees them, each beside itself with ten rows.
"""

import copy
import math
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.__main__ import main
from benchmarks.figure import Figure
from benchmarks.history import execute, fill_log
from benchmarks.product import SAMPLE

if TYPE_CHECKING:
    from django.test import Client

FEW, MANY, PREDICTIONS, CALLS = 10, 1_000, 1_000_000, 9
QUICK_FEW, QUICK_MANY, QUICK_PREDICTIONS, QUICK_CALLS = 10, 60, 2_000, 2
#: Predictions that a drift check and a performance check see.
SEEN = 400
BAD_ROW = "2000,1,9,X,alien,old,0,0,1,free,,Z\n"
#: Files, what is not ours, and what is alike for all models of the admin.
LEFT_OUT = re.compile(
    r"^/(api|static|metrics|accounts/logout|scoring/\d{4}|admin/.*/(history|delete))/"
    r"|\.(csv|json|md|html|onnx|pkl|log|txt)$|/artifact/"
)
#: Of these there are as many as the product makes: rules, roles, intervals that schedules share.
COMPLETE = frozenset(
    {
        "predictions.Prediction", "ingestion.Passenger", "monitoring.AlertRule", "auth.Group",
        "django_celery_beat.IntervalSchedule",
    }
)  # fmt: skip
#: What must differ in copies of a row, by its model; a model that is not here is copied as it is.
DIFFERENT: dict[str, Callable[[int], dict[str, Any]]] = {
    "ingestion.Source": lambda n: {"name": f"source {n}", "schedule_id": None},
    "ingestion.RejectedRow": lambda n: {"line_number": 10_000 + n},
    "ingestion.RowProblem": lambda n: {"line_number": 10_000 + n},
    "features.FeatureBatch": lambda _n: {"is_current": False},
    "training.ModelVersion": lambda n: {"version": n + 1, "run_id": n + 1, "stage": "retired"},
    "predictions.ScoringPart": lambda n: {"number": n},
    "predictions.DeadLetter": lambda n: {"entry_id": f"1-{n}"},
    "predictions.PredictionCount": lambda n: {"model_version": n + 10},
    "predictions.ShadowScore": lambda _n: {"prediction_id": _id()},
    "predictions.Outcome": lambda _n: {"prediction_id": _id()},
    "monitoring.FeatureDrift": lambda n: {"drift_check_id": n + 1},
    "monitoring.DriftWatch": lambda n: {"version_id": n + 1},
    "monitoring.Alert": lambda n: {"subject": f"subject {n}"},
    "django_celery_beat.PeriodicTask": lambda n: {"name": f"task {n}"},
    "monitoring.LiveFigures": lambda n: {"at": _now() - timedelta(minutes=10 * n)},
    "auth.User": lambda n: {"username": f"user {n}"},
    "titanic_site.AccessToken": lambda n: {"digest": f"{n}", "token_key": f"{n}"},
}


def measure(*, is_quick: bool) -> list[Figure]:
    """The time of each page with many rows, as a ratio to that with few."""
    sizes = (QUICK_FEW, QUICK_MANY, QUICK_PREDICTIONS, QUICK_CALLS) if is_quick else (FEW, MANY, PREDICTIONS, CALLS)
    few, many, predictions, calls = sizes
    client = _use_the_product()
    _fill(few)
    pages = _crawl(client)
    before = _milliseconds(client, pages, calls)
    _fill(many)
    fill_log(predictions)
    execute("ANALYZE")
    after = _milliseconds(client, pages, calls)
    few_rows = f"with {few} rows of each kind"
    return [
        Figure(f"GET /{route}", after[route], "ms", reference=Figure(few_rows, before[route], "ms"), at_most=2)
        for route in sorted(pages)
    ]


def _id() -> object:
    from predictions.models import new_id

    return new_id()


def _now() -> datetime:
    from django.utils import timezone

    return timezone.now()


def _use_the_product() -> "Client":
    """Do one of everything, and return an administrator's client."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from ingestion.models import Source
    from monitoring.models import Alert, AlertRule, Delivery, LiveFigures, Retraining
    from predictions import log
    from predictions.models import DeadLetter, Outcome, Prediction, ShadowScore
    from titanic_site import schedules
    from titanic_site.models import AccessToken
    from training.models import ModelVersion, Reproduction

    user = User.objects.create_superuser("ann")
    client = Client()
    client.force_login(user)
    AccessToken.objects.create(user)
    schedules.create_missing()
    AlertRule.objects.create_missing()
    Source.objects.create(name="source", uri="https://example.org/table.csv")
    with TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        table.write_text(SAMPLE.read_text(encoding="utf-8") + BAD_ROW, encoding="utf-8")
        call_command("ingest", str(table))
        call_command("build_features")
        call_command("train", algorithm="logistic_regression", candidates=0)
        call_command("score_file", str(SAMPLE), str(Path(folder) / "results.csv"))
    client.post("/predict", {"pclass": "3", "sex": "male", "name": "Braund, Mr. Owen Harris", "age": "22"})
    log.drain()
    fill_log(SEEN)
    live = Prediction.objects.exclude(source="csv").values_list("pk", flat=True)
    Outcome.objects.bulk_create([Outcome(prediction_id=pk, actual=True) for pk in live])
    call_command("check_drift")
    call_command("check_performance")
    prediction, version = Prediction.objects.latest("pk"), ModelVersion.objects.get()
    now, counts = _now(), [0] * 30
    ShadowScore.objects.create(
        model_version=1, prediction_id=prediction.pk, probability=0.5, predicted=True, created_at=now
    )
    DeadLetter.objects.create(entry_id="0", raw=b"x", error="x", attempts=1)
    Reproduction.objects.create(version=version, state="succeeded", is_equal=True, started_at=now, finished_at=now)
    alert = Alert.objects.create(kind="drift", subject="Fare", message="Drift in Fare.")
    Delivery.objects.create(channel="email", tried_at=now).alerts.add(alert)
    Retraining.objects.create(alert=alert, kind="drift", run=version.run, finished_at=now)
    LiveFigures.objects.create(
        node="a", at=now, prediction_count=9, positive_count=3, request_count=9, error_count=0, latency_counts=counts
    )
    return client


def _fill(count: int) -> None:
    """Copy the first row of each model until there are so many, of all but a prediction's and a passenger's."""
    from django.apps import apps
    from django.contrib import admin

    for model in apps.get_models():
        first = model._default_manager.order_by("pk").first()
        label = model._meta.label
        if first is None or label in COMPLETE or model not in admin.site._registry:
            continue
        present = model._default_manager.count()
        rows = []
        for number in range(present, count):
            row = copy.copy(first)
            row.pk = None
            for name, value in DIFFERENT.get(label, lambda _n: {})(number).items():
                setattr(row, name, value)
            rows.append(row)
        model._default_manager.bulk_create(rows)


def _crawl(client: "Client") -> dict[str, str]:
    """Return one address of each page that links lead to, by its route."""
    from django.urls import resolve

    waiting, seen, pages = ["/overview/", "/search/", "/"], set[str](), dict[str, str]()
    while waiting:
        address = waiting.pop(0)
        page = client.get(address)
        if page.status_code != 200 or not page["Content-Type"].startswith("text/html"):
            continue
        pages.setdefault(resolve(address).route, address)
        for link in re.findall(r'<a [^>]*?href="(/[^"?#]*)', page.text):
            if link not in seen and not LEFT_OUT.search(link) and resolve(link).route not in pages:
                seen.add(link)
                waiting.append(link)
    return pages


def _milliseconds(client: "Client", pages: dict[str, str], rounds: int) -> dict[str, float]:
    """Return the processor time of each page, Python's shortest and PostgreSQL's mean of several rounds.

    The clock on the wall would tell what else the machine does.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
    python, postgres = dict.fromkeys(pages, math.inf), dict.fromkeys(pages, 0.0)
    for _ in range(rounds):
        for route, address in pages.items():
            start, before = time.process_time(), sum(backend.cpu_times()[:2])
            assert client.get(address).status_code == 200, address
            python[route] = min(python[route], time.process_time() - start)
            postgres[route] += sum(backend.cpu_times()[:2]) - before
    return {route: 1e3 * (python[route] + postgres[route] / rounds) for route in pages}


if __name__ == "__main__":
    main("pages")
