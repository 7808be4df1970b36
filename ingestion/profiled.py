"""What a dataset and a feature batch share: a profile of their columns, and how it differs from the one before."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from ingestion.profile import ColumnProfile


class ColumnComparison(NamedTuple):
    """One column's profile, and its profile in `of`, the dataset or batch before, where there is one."""

    name: str
    label: str
    now: "ColumnProfile"
    before: "ColumnProfile | None"
    of: "Profiled | None"
    #: How it is made, where people ask.
    note: str = ""


class Profiled(models.Model):
    """A row with the profile of its columns, by name."""

    profile = models.JSONField(gettext_lazy("profile"), null=True, editable=False)

    class Meta:
        abstract = True

    @property
    def previous(self) -> "Profiled | None":
        """The row before this one that has a profile."""
        raise NotImplementedError

    def compare_profiles(
        self, labels: Mapping[str, str | Promise], *, notes: Mapping[str, str] | None = None
    ) -> list[ColumnComparison]:
        """Compare the profile with the one before, for the columns of `labels` in their order: JSON keeps none."""
        previous = self.previous if self.profile else None
        now, before = self.profile or {}, (previous and previous.profile) or {}
        return [
            ColumnComparison(name, str(label), now[name], before.get(name), previous, (notes or {}).get(name, ""))
            for name, label in labels.items()
            if name in now
        ]
