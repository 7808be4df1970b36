"""A job: one step of a model's life, as a row with a state, a lease and a way to run it again."""

from core.jobs.model import OPEN_STATES, Cancelled, Job, JobQuerySet, NotClaimed, State
from core.jobs.publisher import bound_waits, enqueue
from core.jobs.recovery import MAX_STARTS, RESEND_AFTER, kinds, recover_stale
from core.jobs.uploads import UploadJob, kept_files

__all__ = [
    "MAX_STARTS",
    "OPEN_STATES",
    "RESEND_AFTER",
    "Cancelled",
    "Job",
    "JobQuerySet",
    "NotClaimed",
    "State",
    "UploadJob",
    "bound_waits",
    "enqueue",
    "kept_files",
    "kinds",
    "recover_stale",
]
