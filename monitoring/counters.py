"""The counters of monitoring; all processes add to them in `settings.METRICS_DIR`."""

from prometheus_client import Counter, Histogram

from features.definition import DERIVED, FEATURES

DRIFTS = Counter("drift_count", "Alarms of the drift watch", ["feature"])
# A series that begins with its first drift would show no increase.
for _feature in FEATURES:
    if _feature not in DERIVED:
        DRIFTS.labels(_feature)

TASKS = Counter("titanic_tasks", "Runs of Celery tasks, by how they ended", ["task", "state"])
TASK_REDELIVERIES = Counter("titanic_task_redeliveries", "Runs of tasks whose first worker was lost", ["task"])
TASK_SECONDS = Histogram(
    "titanic_task_seconds",
    "How long the runs of a task took",
    ["task"],
    # Few: each is a series for every task.
    buckets=(0.01, 0.1, 1, 10, 60, 600, float("inf")),
)
