"""What every job says of itself in the API."""

JOB_FIELDS = ("id", "state", "progress", "error", "created_at", "started_at", "finished_at")
