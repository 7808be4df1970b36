"""Which job and which request the present log lines belong to."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django_guid import get_guid, set_guid

#: The id of the job that is worked on; empty where none is.
job_id: ContextVar[str] = ContextVar("job_id", default="")


@contextmanager
def working_on(job: str, *, request_id: str) -> Iterator[None]:
    """Have log lines carry the ids of the job and of the request that queued it.

    A message that was lost and is sent again by a recovery comes with the recovery's id, not with that request's.
    """
    guid, token = get_guid(), job_id.set(job)
    set_guid(request_id or guid)
    try:
        yield
    finally:
        job_id.reset(token)
        set_guid(guid)
