"""Which batches stay in Redis; every other expires there, and is rebuilt when somebody reads it."""

from collections.abc import Collection

from django.conf import settings
from django.utils import timezone

from features import store
from features.models import FeatureBatch


def expire_old(*, in_use: Collection[int]) -> list[FeatureBatch]:
    """Let batches go that are not current, not among the newest and not `in_use`; returns them."""
    found = list(FeatureBatch.objects.expirable(in_use=in_use, keep_count=settings.FEATURE_BATCHES_KEPT))
    for batch in found:
        store.expire(batch.pk)
        # Another column than those a build saves: nobody's writing is lost.
        FeatureBatch.objects.filter(pk=batch.pk).update(expired_at=timezone.now())
    return found
