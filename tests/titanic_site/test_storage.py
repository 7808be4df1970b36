"""The page that shows how much there is of what grows."""

from typing import Any

from django.db import connection
from django.test import Client

from core import audit
from core.models import Action, AuditEntry
from predictions import log, partitions
from predictions.models import DeadLetter, Prediction
from titanic_site import storage
from training.models import ModelVersion


def usage(name: str) -> storage.Usage:
    (found,) = (usage for usage in storage.tables() if usage.name == name)
    return found


def test_tables_with_partitions_are_summed_up(champion: ModelVersion, client: Client) -> None:
    partitions.create_upcoming()
    DeadLetter.objects.create(entry_id="1", raw=b"x", error="x", attempts=3)
    for _ in range(3):
        client.post("/predict", {"pclass": 1, "sex": "male", "name": "x"})
    log.drain()
    audit.record(Action.CHANGED, "x")
    with connection.cursor() as cursor:
        for model in (Prediction, DeadLetter, AuditEntry):
            cursor.execute(f"ANALYZE {model._meta.db_table}")

    predictions, letters = usage("Predictions"), usage("Dead letters")

    assert predictions.count == Prediction.objects.count()
    assert predictions.kept == "for ever"
    assert letters.count == 1
    assert letters.oldest_at == DeadLetter.objects.get().created_at
    assert letters.byte_count > 8000
    assert (usage("Audit entries").count or 0) > 0


def test_the_page_shows_them_to_operators(client: Client, champion: ModelVersion, settings: Any) -> None:
    settings.PREDICTIONS_KEPT_MONTHS, settings.DEAD_LETTERS_KEPT_DAYS = 24, 1
    page = client.get("/storage/")

    assert page.status_code == 200
    for text in ("24 months", "1 day<", "Dead letters", "logs/", "Scoring jobs"):
        assert text in page.text, text
    assert 'href="/storage/"' in client.get("/monitoring/").text
