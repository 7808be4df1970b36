"""What deploy/ has for Prometheus and Grafana; tests/life runs the queries."""

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.programs import PROMTOOL

DEPLOY = Path(settings.BASE_DIR) / "deploy"


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml", "compose.yml", "hosts.yml"), ("check", "rules", "alerts.yml"),
     ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)  # fmt: skip
def test_promtool_finds_no_mistake(command: tuple[str, ...]) -> None:
    assert PROMTOOL

    checked = subprocess.run(
        [PROMTOOL, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboards_are_what_the_script_makes() -> None:
    made = runpy.run_path(str(DEPLOY / "grafana" / "dashboards.py"))["texts"]()

    assert {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").iterdir()} == made


def test_grafana_can_read_the_dashboards() -> None:
    dashboards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    datasources = (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()

    assert len({dashboard["uid"] for dashboard in dashboards}) == len(dashboards) == 4
    for dashboard in dashboards:
        panels: list[dict[str, Any]] = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells = [cell for panel in panels for cell in _cells(**panel["gridPos"])]
        assert len(set(cells)) == len(cells), dashboard["title"]
        for panel in panels:
            assert panel["title"]
            assert panel["type"] in ("stat", "timeseries")
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
            for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
                assert f"uid: {source['uid']}\n" in datasources


def _cells(*, x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    assert 0 <= x < x + w <= 24
    return [(column, row) for column in range(x, x + w) for row in range(y, y + h)]
