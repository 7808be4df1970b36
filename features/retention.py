"""Keep the feature batches in Redis that are used; the others expire, and are rebuilt when they are read."""

from collections.abc import Collection

from django.conf import settings
from django.utils import timezone

from features.models import FeatureBatch


def expire_old(*, in_use: Collection[int]) -> list[FeatureBatch]:
    """Expire the batches that are not current, not among the newest and not `in_use`, and return them."""
    expired = list(FeatureBatch.objects.expirable(in_use=in_use, keep_count=settings.FEATURE_BATCHES_KEPT))
    for batch in expired:
        batch.stored.expire()
        # By query: a build saves other columns of the row.
        FeatureBatch.objects.filter(pk=batch.pk).update(expired_at=timezone.now())
    return expired
