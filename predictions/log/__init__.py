"""The prediction log: append to a Redis stream at once, write to Postgres from there, trim only what is committed."""

from predictions.log.dead_letters import retry
from predictions.log.drainer import drain
from predictions.log.dry_runs import dry_run, is_dry_run
from predictions.log.entries import COLUMNS, Entry, LogEntry
from predictions.log.lookup import find
from predictions.log.postgres import insert
from predictions.log.stream import append, append_idempotent, backlog, longest_wait

__all__ = [
    "COLUMNS", "Entry", "LogEntry", "append", "append_idempotent", "backlog", "drain", "dry_run", "find", "insert",
    "is_dry_run", "longest_wait", "retry",
]  # fmt: skip
