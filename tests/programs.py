"""Programs that no Python package carries: on a machine without one, the tests that need it are left out, loudly."""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Debian keeps it where only root's PATH leads.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
KUBECTL = shutil.which("kubectl")
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what is missing, whatever was run."""
    programs = {
        "CHROMIUM": CHROMIUM,
        "NGINX": NGINX,
        "PROMETHEUS": PROMETHEUS,
        "PROMTOOL": PROMTOOL,
        "KUBECTL": KUBECTL,
        "SYSTEMD_ANALYZE": SYSTEMD_ANALYZE,
    }
    for name, path in programs.items():
        if path is None:
            terminalreporter.write_line(f"NO {name} ON THIS MACHINE: tests that need it are left out", red=True)
