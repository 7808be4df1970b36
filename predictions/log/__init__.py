"""The prediction log: append to a Redis stream at once, write to Postgres from there, trim only what is committed."""

from predictions.log.drainer import drain, retry
from predictions.log.entries import COLUMNS, Entry, LogEntry
from predictions.log.erasure import erase_unstored
from predictions.log.lookup import get
from predictions.log.postgres import insert
from predictions.log.stream import append, append_idempotent, backlog, longest_wait

__all__ = [
    "COLUMNS", "Entry", "LogEntry", "append", "append_idempotent", "backlog", "drain", "erase_unstored", "get",
    "insert", "longest_wait", "retry",
]  # fmt: skip
