"""What several requests predicted at the same time, logged in one go."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from threading import Lock
from typing import NamedTuple, TypeVar

from predictions import log, metrics

_T = TypeVar("_T")

_left: ContextVar[list[log.Entry] | None] = ContextVar("left", default=None)


def append(entries: Sequence[log.Entry]) -> None:
    """Log predictions, or leave them to whoever asked for that by `gathered`; raises Unavailable."""
    left = _left.get()
    if left is None:
        append_now(entries)
    else:
        left.extend(entries)


def append_now(entries: Sequence[log.Entry]) -> None:
    """Log predictions and count them; raises Unavailable."""
    log.append(entries)
    metrics.count(entries)


def gathered(work: Callable[[], _T]) -> tuple[_T, list[log.Entry]]:
    """What the work returns, and the predictions that it leaves: nothing of it may be told before they are logged."""
    entries: list[log.Entry] = []
    before = _left.set(entries)
    try:
        return work(), entries
    finally:
        _left.reset(before)


class _Waiting(NamedTuple):
    """Predictions, and whom to tell that they are logged, or why not."""

    entries: Sequence[log.Entry]
    tell: Callable[[Exception | None], object]


class Desk:
    """Where the threads of a process hand in what is to be logged.

    Whoever finds nobody at it stays until nothing waits; the others go on with the next request. So the more is asked,
    the more is logged at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[_Waiting] = []
        self._is_taken = False

    def hand_in(self, entries: Sequence[log.Entry], tell: Callable[[Exception | None], object]) -> None:
        """See that the predictions get logged, by this thread or another, and that the outcome is told."""
        with self._lock:
            self._waiting.append(_Waiting(entries, tell))
            if self._is_taken:
                return
            self._is_taken = True
        while group := self._next():
            _log(group)

    def _next(self) -> list[_Waiting]:
        with self._lock:
            group, self._waiting = self._waiting, []
            self._is_taken = bool(group)
            return group


def _log(group: Sequence[_Waiting]) -> None:
    failure: Exception | None = None
    try:
        append_now([entry for waiting in group for entry in waiting.entries])
    # Whatever it is: those who wait must hear of it.
    except Exception as error:  # noqa: BLE001
        failure = error
    for waiting in group:
        waiting.tell(failure)
