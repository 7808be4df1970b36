"""One object at a source, from its metadata alone."""

from collections.abc import Callable
from dataclasses import dataclass

#: Takes the bytes fetched so far; may raise to stop the transfer.
ReportProgress = Callable[[int], None]


@dataclass(frozen=True)
class RemoteObject:
    """Where it is, what its place calls this version of it ("" where the place tells none), and its size if known."""

    uri: str
    version: str
    byte_count: int | None
