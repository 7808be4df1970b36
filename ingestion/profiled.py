"""What a dataset and a feature batch share: a profile of their columns, and how it differs from the one before."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from django.db import models
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from ingestion.profile import ColumnProfile


#: So many rows can be chosen as the reference: the newest.
MOST_REFERENCES = 20
# So many digits fit into an integer of PostgreSQL.
_MOST_DIGITS = 9


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
        self,
        labels: Mapping[str, str | Promise],
        *,
        notes: Mapping[str, str] | None = None,
        reference: "Profiled | None" = None,
    ) -> list[ColumnComparison]:
        """Compare the profile with the reference's, or the one before; `labels` are the columns in their order."""
        previous = reference or (self.previous if self.profile else None)
        now, before = self.profile or {}, (previous and previous.profile) or {}
        return [
            ColumnComparison(name, str(label), now[name], before.get(name), previous, (notes or {}).get(name, ""))
            for name, label in labels.items()
            if name in now
        ]


Row = TypeVar("Row", bound=Profiled)


def chosen_reference(query: QueryDict, rows: "models.QuerySet[Row]") -> Row | None:
    """Return the row that the address names as the reference; None for none, or one that is not there."""
    number = query.get("reference", "")
    is_number = number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
    return rows.filter(pk=int(number)).first() if is_number else None
