"""The old form's field names and codes, understood where `predictions/legacy_form.py` is; another table deletes it."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from features.definition import FEATURES
from ingestion.contract import Checked, CheckedRows, check_each
from ingestion.schema import CONTRACT, FIELD_NAMES

_MODULE = "predictions.legacy_form"
legacy_form: ModuleType | None = import_module(_MODULE) if find_spec(_MODULE) else None


def is_legacy(names: Iterable[str]) -> bool:
    """Tell whether a passenger comes under the old form's names: those of features that are no fields."""
    return legacy_form is not None and not (set(FEATURES) - set(FIELD_NAMES)).isdisjoint(names)


def check_all(raws: Iterable[Mapping[str, object]]) -> CheckedRows:
    """Translate and check rows under the old form's names."""
    return check_each(raws, check_row)


def check_row(raw: Mapping[str, object]) -> Checked:
    """Translate and check a row under the old form's names: typed values, or violations under those names."""
    assert legacy_form is not None, "only rows for which is_legacy is true have old names"
    # The form sends flags and numbers as text, tensors as they are.
    texts = {
        name: "" if value is None else str(int(value) if isinstance(value, bool) else value)
        for name, value in raw.items()
    }
    row, violations = legacy_form.translate(texts)
    if violations:
        return {}, violations
    values, violations = CONTRACT.check(row)
    return values, legacy_form.use_old_names(violations)
