"""What the house promises of its own walls."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
from django.conf import settings
from django_celery_beat.models import PeriodicTask

from core.jobs import kinds
from ingestion.passenger import LABEL
from ingestion.schema import FIELD_NAMES
from titanic_site import schedules
from titanic_site.celery import app

ROOT = Path(settings.BASE_DIR)
APPS = ("core", "titanic_site", "ingestion", "features", "training", "predictions", "monitoring", "templates")
#: The places that know the Titanic.
ALLOWED = {
    "ingestion/passenger.py", "ingestion/sample/make_sample.py",
    "features/definition.py", "predictions/legacy_form.py",
}  # fmt: skip
#: Fields whose name is also an ordinary word of code.
ORDINARY = {"name", "title", "sex"}
#: Others that are words of English, or of Python.
ALSO_WORDS = {"age", "fare", "cabin", "ticket"}


def test_no_column_of_the_passenger_is_named_outside_its_places() -> None:
    names = "|".join(sorted({*FIELD_NAMES, LABEL} - ORDINARY))
    rare = "|".join(sorted({*FIELD_NAMES, LABEL} - ORDINARY - ALSO_WORDS))
    quoted = re.compile(rf"""["']({names})["']|\.({names})\b|(?i:\b({rare})\b)""")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for app_name in APPS
        for path in (ROOT / app_name).rglob("*")
        if path.suffix in (".py", ".html", ".js", ".css") and "migrations" not in path.parts
        and str(path.relative_to(ROOT)) not in ALLOWED
        for line in path.read_text().splitlines()
        if quoted.search(line)
    ]  # fmt: skip

    assert found == []


def test_old_t29_the_web_imports_no_heavy_library() -> None:
    code = (
        "import sys; import titanic_site.wsgi; from django.urls import get_resolver; get_resolver().url_patterns;"
        "heavy = {'sklearn', 'pandas', 'polars', 'alibi_detect', 'skl2onnx', 'scipy', 'numba', 'google.cloud.storage'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""


def test_every_pure_module_stands_in_the_contract_of_pure_modules() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (contract for contract in linter["contracts"] if contract["type"] == "forbidden")
    graph = grimp.build_graph(*linter["root_packages"], include_external_packages=True, cache_dir=None)
    for ignored in contract["ignore_imports"]:
        importer, imported = ignored.split(" -> ")
        graph.remove_import(importer=importer, imported=imported)

    frameworks = (name for name in graph.modules if re.match("django|rest_framework|drf_|celery|knox|unfold", name))
    with_framework = set().union(*(graph.find_downstream_modules(name) for name in frameworks))

    pure = {name for name in graph.modules - with_framework if graph.find_modules_directly_imported_by(name)}
    # The contract cannot name it: another table deletes it.
    assert pure - {"predictions.legacy_form"} == set(contract["source_modules"])


def test_every_kind_of_job_has_its_task() -> None:
    app.loader.import_default_modules()

    for kind in kinds():
        task = app.tasks[kind.task_name]
        assert task.time_limit == settings.QUEUES[kind.queue], kind


@pytest.mark.django_db
def test_every_schedule_sends_a_task_that_exists_to_a_queue_that_is_served() -> None:
    app.loader.import_default_modules()
    assert schedules.create_missing() == len(schedules.defaults())

    for periodic in PeriodicTask.objects.exclude(task__startswith="celery."):
        assert periodic.task in app.tasks
        assert periodic.queue in settings.QUEUES
        assert periodic.expire_seconds


@pytest.mark.django_db
def test_a_schedule_that_a_person_edited_stays() -> None:
    schedules.create_missing()
    PeriodicTask.objects.filter(name="Check drift").update(enabled=False)

    assert schedules.create_missing() == 0
    assert not PeriodicTask.objects.get(name="Check drift").enabled


def test_redis_hands_no_running_task_out_again() -> None:
    assert settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] > max(settings.QUEUES.values())
