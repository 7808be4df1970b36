"""Produce the next item while the present one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each produced in a thread while the one before is used: at most two exist.

    >>> list(prefetch(iter([1, 2, 3])))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
        pending = thread.submit(next, items, _END)
        while (item := pending.result()) is not _END:
            pending = thread.submit(next, items, _END)
            yield item
