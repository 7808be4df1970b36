"""A used installation: people predict, load, train, promote and check, and some of it fails."""

import re
from collections.abc import Callable
from contextlib import suppress

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

import features.services
import training.services
from core.errors import TitanicError
from core.messages import Message
from ingestion import sources
from ingestion.models import Dataset, Source
from monitoring import alerts, consistency, performance
from monitoring import services as monitoring_services
from monitoring.models import AlertRule
from predictions import drift_state, load_failures, log, outcomes, scoring
from predictions import services as predictions
from predictions.drift_state import DriftState
from predictions.models import DeadLetter, Prediction
from tests.people import CAST, OWEN, table
from tests.users import make_user
from titanic_site import pipeline, schedules
from training import registry
from training.models import ModelVersion

#: Not ours, files, and what a single model cannot do.
LEFT_OUT = re.compile(
    r"^/(admin|api|static|healthz|readyz|metrics|models/rollback)|\.(csv|json|md|html|onnx|pkl|log|txt)$|/artifact/"
)
UNREADABLE = "no,column\n1,2\n"


def use(champion: ModelVersion, *, load: Callable[..., Dataset], sample: str) -> None:
    """Do in English what an installation's people and tasks do."""
    client = Client()
    client.force_login(make_user("ben", "operator"))
    schedules.create_missing()
    AlertRule.objects.create_missing()
    AlertRule.objects.update(delay_seconds=0)

    client.post("/predict", {name: value for name, value in OWEN.items() if value is not None})
    predictions.predict(predictions.parse_batch([{**CAST[n % 4], "age": 20 + n} for n in range(55)]))
    log.drain()
    for n, pk in enumerate(Prediction.objects.values_list("pk", flat=True)[:40]):
        outcomes.record(pk, actual=n % 3 == 0, by=None)
    DeadLetter.objects.create(entry_id="1-1", raw=b"x", error="x", attempts=1)
    for text in (table(OWEN), UNREADABLE):
        with suppress(TitanicError):
            scoring.score(predictions.queue_scoring(file=SimpleUploadedFile("x.csv", text.encode()), by=None))

    load("\n".join([*sample.splitlines()[:40], "2000,1,9,X,alien,old,0,0,1,free,,Z"]), largest_problem_share=0.5)
    dataset = load("\n".join(sample.splitlines()[:400]))
    lost = Source(name="lost", uri="lost.csv")
    sources.save(lost, every=None, is_enabled=True)
    with suppress(TitanicError):
        pipeline.fetch(lost)
    with suppress(TitanicError):
        load(UNREADABLE)

    batch = features.services.queue_build(dataset=dataset)
    features.services.build(batch)
    run = training.services.queue_run(batch=batch, algorithm="logistic_regression", candidates=2)
    training.services.train(run)
    url = run.version.get_absolute_url()
    client.post(f"{url}annotate/", {"tags": "small", "notes": "400"})
    client.post(f"{url}promote/", {"reason": "Ticket 7"})
    client.post("/models/rollback/")
    registry.start_shadow(run.version, by=None)
    training.services.reproduce(training.services.queue_reproduction(version=champion))

    monitoring_services.check_drift(monitoring_services.queue_check())
    performance.scheduled_check()
    consistency.run()
    load_failures.record(champion.version, Message("the file refers to data outside itself"))
    drift_state.publish(DriftState("drift", timezone.now(), ("Fare",), champion.version))
    alerts.evaluate_alerts()
