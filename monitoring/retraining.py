"""Decide when a rule retrains, and keep what came of it. The site, which knows every step, does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from core.messages import of_error
from monitoring.models import Alert, AlertRule, Retraining
from training.models import TrainingRun


@transaction.atomic
def claim() -> Retraining | None:
    """Begin a retraining if a rule of an open alert wants one now; None where there is nothing to do.

    Loops are damped: never two trainings at once, a pause between two by one rule, and at most so many a day by all.
    """
    # Of two workers, one waits here and finds what the other has begun.
    rules = {rule.kind: rule for rule in AlertRule.objects.select_for_update().filter(is_enabled=True, retrains=True)}
    if not rules or TrainingRun.objects.open().exists():
        return None
    now = timezone.now()
    by_rules = Retraining.objects.exclude(kind="")
    trained_count = by_rules.filter(run__isnull=False, started_at__gt=now - timedelta(days=1)).count()
    for alert in Alert.objects.open().filter(kind__in=rules).order_by("pk"):
        rule = rules[alert.kind]
        since = now - timedelta(hours=rule.retrain_pause_hours)
        is_paused = by_rules.filter(kind=alert.kind, started_at__gt=since).exists()
        if rule.may_retrain and not is_paused and trained_count < rule.most_retrainings:
            return Retraining.objects.create(alert=alert, kind=alert.kind)
    return None


@contextmanager
def recorded(retraining: Retraining) -> Iterator[None]:
    """Record how the body's retraining ends."""
    try:
        yield
    except Exception as error:
        retraining.error = of_error(error)
        raise
    finally:
        retraining.finished_at = timezone.now()
        retraining.save()
