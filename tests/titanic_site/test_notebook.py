"""The notebook, run as a person runs it: a kernel of its own against the running system."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pytest
from django.conf import settings
from django.db import connection
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from ingestion.schema import FIELD_NAMES
from tests.model_figures import metrics
from training.models import ModelVersion

NOTEBOOK = Path(settings.BASE_DIR) / "notebooks" / "titanic.ipynb"


def run() -> Any:
    """Every cell, in a kernel that is told where this run's database, Redis and files are."""
    database = connection.settings_dict
    where = {
        "DATABASE_URL": f"postgres://{database['USER']}@{quote(database['HOST'], safe='')}/{database['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "TITANIC_HOME": str(settings.HOME),
    }
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    return client.execute(env={**os.environ, **where, "JUPYTER_PLATFORM_DIRS": "1"})


# The kernel has a connection of its own.
@pytest.mark.django_db(transaction=True)
def test_it_runs_from_top_to_bottom(champion: ModelVersion) -> None:
    champion.metrics = metrics()
    champion.save()

    outputs = [output for cell in run().cells if cell.cell_type == "code" for output in cell.outputs]

    assert sum("image/png" in output.get("data", {}) for output in outputs) == 7
    assert "Model 1" in json.dumps(outputs)
    assert [output for output in outputs if output.output_type == "stream"] == []


def test_without_a_champion_it_says_what_to_do(db: None) -> None:
    with pytest.raises(CellExecutionError, match="bootstrap"):
        run()


def test_it_is_stored_without_outputs() -> None:
    code = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]

    assert [cell for cell in code if cell.outputs or cell.execution_count] == []


def test_it_names_no_column_of_the_table() -> None:
    source = "".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)

    assert [name for name in FIELD_NAMES if f'"{name}"' in source] == []
