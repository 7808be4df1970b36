"""Predictions that are not logged: those of the consistency check."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_dry_run = ContextVar("is_dry_run", default=False)
is_dry_run = _is_dry_run.get


@contextmanager
def dry_run() -> Iterator[None]:
    """Neither log nor count the predictions made within the body."""
    token = _is_dry_run.set(True)
    try:
        yield
    finally:
        _is_dry_run.reset(token)
