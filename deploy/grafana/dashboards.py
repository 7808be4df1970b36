"""Writes the dashboards beside it: python deploy/grafana/dashboards.py. Edit the panels here, not the JSON."""

import json
from pathlib import Path
from typing import NamedTuple

DATASOURCE = {"type": "prometheus", "uid": "titanic-prometheus"}
RESPONSES = "django_http_responses_total_by_status_view_method_total"
LATENCY = "django_http_requests_latency_seconds_by_view_method_bucket"
TASK_SECONDS = "titanic_task_seconds_bucket"
PREDICTIONS = "max without (instance, job) (rate(prediction_count_total[5m]))"
#: The columns that a dashboard has.
WIDTH = 24


class Panel(NamedTuple):
    """Lines over time, or a number of now; each query has the legend of its series.

    Web processes on several machines read the same tables: `max` and `min` stand for what is the same at all of them.
    """

    title: str
    unit: str
    queries: dict[str, str]
    is_number: bool = False


def number(title: str, unit: str, query: str, legend: str) -> Panel:
    """Return a panel with one number for each series."""
    return Panel(title, unit, {query: legend}, is_number=True)


DASHBOARDS = {
    "Service": [
        number("Web servers that answer", "none", 'sum(up{job="titanic"})', "up"),
        number("Database and Redis", "none", "min by (service) (titanic_up)", "{{service}}"),
        number("Free disk", "percentunit", "min(titanic_disk_free_bytes / titanic_disk_size_bytes)", "free"),
        number("Open alerts", "none", "sum(max by (kind) (titanic_alerts_open))", "open"),
        Panel("Requests by status", "reqps", {f"sum by (status) (rate({RESPONSES}[5m]))": "{{status}}"}),
        Panel(
            "Share of failed requests",
            "percentunit",
            {f'(sum(rate({RESPONSES}{{status="5xx"}}[5m])) or vector(0)) / sum(rate({RESPONSES}[5m]))': "5xx"},
        ),
        Panel(
            "Latency",
            "s",
            {
                f"histogram_quantile({share}, sum by (le) (rate({LATENCY}[5m])))": f"{name} of requests"
                for name, share in (("half", 0.5), ("95 %", 0.95), ("99 %", 0.99))
            },
        ),
        Panel("Requests by view", "reqps", {f"topk(10, sum by (view) (rate({RESPONSES}[5m])))": "{{view}}"}),
        Panel("Database queries", "ops", {"sum(rate(django_db_execute_total[5m]))": "queries"}),
        Panel(
            "Time of a database query",
            "s",
            {"histogram_quantile(0.95, sum by (le) (rate(django_db_query_duration_seconds_bucket[5m])))": "95 %"},
        ),
    ],
    "Predictions and drift": [
        Panel(
            "Predictions by channel",
            "reqps",
            {f"sum by (source) ({PREDICTIONS})": "{{source}}"},
        ),
        Panel(
            "Predictions by result",
            "reqps",
            {f"sum without (model_version, source) ({PREDICTIONS})": "__auto"},
        ),
        number("Drift watch", "none", 'max(titanic_drift_watch{state="drift"})', "drift"),
        number("Predictions that it has looked at", "none", "max(titanic_drift_watch_predictions)", "predictions"),
        Panel("State of the drift watch", "none", {"max by (state) (titanic_drift_watch)": "{{state}}"}),
        Panel("Drifted features", "none", {"max by (feature) (titanic_drift_watch_feature)": "{{feature}}"}),
        Panel(
            "Alarms of the watch in an hour",
            "none",
            {"sum by (feature) (increase(drift_count_total[1h]))": "{{feature}}"},
        ),
        Panel(
            "p-values of the last drift check",
            "none",
            {"min by (feature, test) (titanic_drift_p_value)": "{{feature}} {{test}}"},
        ),
        Panel(
            "Time to score",
            "s",
            {
                f"histogram_quantile({share}, sum by (le) (rate(titanic_scoring_seconds_bucket[5m])))": name
                for name, share in (("half", 0.5), ("99 %", 0.99))
            },
        ),
        Panel("Channels that answer as the model does", "none", {"min by (door) (titanic_parity)": "{{door}}"}),
    ],
    "Jobs and queues": [
        Panel("Messages that wait", "none", {"max by (queue) (titanic_queue_depth)": "{{queue}}"}),
        Panel("Since the last heartbeat", "s", {"max by (queue) (titanic_canary_age_seconds)": "{{queue}}"}),
        Panel("Predictions not yet in PostgreSQL", "none", {"max(titanic_prediction_log_backlog)": "waiting"}),
        Panel(
            "Queued and running jobs",
            "none",
            {'max by (kind, state) (titanic_jobs{state=~"queued|running"})': "{{kind}} {{state}}"},
        ),
        Panel("Jobs that succeeded", "none", {'max by (kind) (titanic_jobs{state="succeeded"})': "{{kind}}"}),
        Panel("Jobs that failed", "none", {'max by (kind) (titanic_jobs{state="failed"})': "{{kind}}"}),
        Panel("How long the last job took", "s", {"max by (kind) (titanic_job_last_duration_seconds)": "{{kind}}"}),
        Panel("Open alerts", "none", {"max by (kind) (titanic_alerts_open)": "{{kind}}"}),
        Panel("Runs of tasks", "ops", {"topk(10, sum by (task) (rate(titanic_tasks_total[5m])))": "{{task}}"}),
        Panel(
            "Runs of tasks by how they ended", "ops", {"sum by (state) (rate(titanic_tasks_total[5m]))": "{{state}}"}
        ),
        Panel(
            "Time of a task, 95 %",
            "s",
            {f"topk(10, histogram_quantile(0.95, sum by (task, le) (rate({TASK_SECONDS}[5m]))))": "{{task}}"},
        ),
        Panel(
            "Runs whose first worker was lost",
            "ops",
            {"sum(rate(titanic_task_redeliveries_total[5m])) or vector(0)": "runs"},
        ),
    ],
    "Model and data": [
        number("Champion", "none", "max(titanic_champion_version)", "version"),
        number("Age of the champion", "s", "min(titanic_champion_age_seconds)", "age"),
        number("Age of the newest table", "s", "min(titanic_dataset_age_seconds)", "age"),
        number("Outcomes of the last performance check", "none", "max(titanic_live_outcomes)", "outcomes"),
        Panel(
            "Accuracy",
            "percentunit",
            {
                "max(titanic_expected_accuracy)": "expected from cross-validation",
                "max(titanic_live_accuracy)": "on known outcomes",
                "max(titanic_estimated_accuracy)": "estimated without outcomes",
            },
        ),
        Panel("Brier score on known outcomes", "none", {"max(titanic_live_brier_score)": "Brier score"}),
        Panel(
            "Share of predictions whose outcome is known", "percentunit", {"max(titanic_outcomes_known_share)": "known"}
        ),
        Panel("Champion over time", "none", {"max(titanic_champion_version)": "version"}),
    ],
}


def dashboard(title: str) -> dict[str, object]:
    """Return a dashboard as Grafana reads it: panels two in a row, numbers four."""
    panels, x, y, row_height = [], 0, 0, 0
    for panel_id, panel in enumerate(DASHBOARDS[title], start=1):
        width, height = (6, 4) if panel.is_number else (12, 8)
        if x + width > WIDTH:
            x, y, row_height = 0, y + row_height, 0
        panels.append(
            {
                "id": panel_id,
                "type": "stat" if panel.is_number else "timeseries",
                "title": panel.title,
                "datasource": DATASOURCE,
                "gridPos": {"x": x, "y": y, "w": width, "h": height},
                "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
                "targets": [
                    {"refId": chr(65 + index), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
                    for index, (expression, legend) in enumerate(panel.queries.items())
                ],
            }
        )
        x, row_height = x + width, max(row_height, height)
    return {
        "uid": f"titanic-{title.lower().replace(' ', '-')}",
        "title": title,
        "tags": ["titanic"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": panels,
    }


def texts() -> dict[str, str]:
    """Return the files' contents by name."""
    made = map(dashboard, DASHBOARDS)
    return {f"{one['uid']}.json": json.dumps(one, indent=2) + "\n" for one in made}


if __name__ == "__main__":
    for file_name, text in texts().items():
        (Path(__file__).parent / "dashboards" / file_name).write_text(text)
