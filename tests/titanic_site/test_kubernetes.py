"""What `kubectl apply -k` would send, made by kubectl itself, against Kubernetes' own schemas and against Compose."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.conf import settings

from tests.programs import KUBECTL

ROOT = Path(settings.BASE_DIR)
BASE = ROOT / "deploy/k8s/base"
VERSION = "1.33"

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on this machine")


@pytest.fixture(scope="module", params=["base", "managed"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The objects of the base, or of it with stores from elsewhere."""
    folder = tmp_path_factory.mktemp("k8s") / "k8s"
    shutil.copytree(ROOT / "deploy/k8s", folder)
    shutil.copy(folder / "base/secret.env.example", folder / "base/secret.env")
    made = subprocess.run(
        [str(KUBECTL), "kustomize", folder / request.param], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(made.stdout))


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods' specifications by the name of what makes them."""
    kinds = ("Deployment", "Job", "StatefulSet")
    return {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in objects if found["kind"] in kinds}


def test_each_object_follows_its_schema(objects: list[dict[str, Any]]) -> None:
    for found in objects:
        kubernetes_validate.validate(found, VERSION, strict=True)


def test_they_run_what_compose_runs(objects: list[dict[str, Any]]) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    found = pods(objects)
    stores = {name: pod for name, pod in found.items() if name in ("postgres", "redis")}

    for compose, ours in {"worker": "worker", "worker-fast": "worker-fast", "worker-training": "worker-training",
                          "beat": "scheduler", "bootstrap": "bootstrap", "web": "web"}.items():  # fmt: skip
        assert found[ours]["containers"][0].get("command") == services[compose].get("command")
    for name, pod in stores.items():
        assert pod["containers"][0]["image"] == services[name]["image"]
        assert pod["containers"][0].get("command") == services[name].get("command")


def test_every_pod_has_limits_and_no_rights(objects: list[dict[str, Any]]) -> None:
    for name, pod in pods(objects).items():
        (container,) = pod["containers"]

        assert pod["securityContext"]["runAsNonRoot"], name
        assert not pod["automountServiceAccountToken"], name
        assert "livenessProbe" in container or name == "bootstrap", name
        for one in (container, *pod.get("initContainers", [])):
            rights = one["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert not rights["allowPrivilegeEscalation"], name
            assert {"requests", "limits"} == set(one["resources"]), name
            assert re.search(r":\d", one["image"]), name


def test_workers_and_scheduler_wait_for_the_migrated_database(objects: list[dict[str, Any]]) -> None:
    waiting = {name: pod["initContainers"][0] for name, pod in pods(objects).items() if "initContainers" in pod}

    assert waiting.keys() == pods(objects).keys() - {"web", "bootstrap", "postgres", "redis"}
    for name, container in waiting.items():
        (app,) = pods(objects)[name]["containers"]
        assert "manage.py migrate --check" in container["command"][-1]
        assert [container[field] for field in ("image", "envFrom", "volumeMounts")] == [
            app[field] for field in ("image", "envFrom", "volumeMounts")
        ]


def test_every_setting_reaches_every_pod(objects: list[dict[str, Any]]) -> None:
    known = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    (given,) = (found for found in objects if found["kind"] == "ConfigMap")
    (secret,) = (found for found in objects if found["kind"] == "Secret")

    assert given["data"].keys() | secret["data"].keys() <= known
    for name, pod in pods(objects).items():
        (container,) = pod["containers"]
        if "titanic-mlops" in container["image"]:
            sources = [source[kind]["name"] for source in container["envFrom"] for kind in source]
            assert sources == [given["metadata"]["name"], secret["metadata"]["name"]], name
            # What stands in the pod wins over both: nothing that a person may choose but by them.
            fixed = {variable["name"] for variable in container["env"] if "value" in variable}
            assert fixed == {"TITANIC_HOME", "HOST", "PORT", "HEARTBEAT_PATH"}, name
            # Keys as files, for NAME_FILE and GOOGLE_APPLICATION_CREDENTIALS.
            assert {"name": "files", "secret": {"secretName": "files", "optional": True}} in pod["volumes"], name


def test_what_points_at_something_finds_it(objects: list[dict[str, Any]]) -> None:
    labels = [
        {**found["spec"]["template"]["metadata"]["labels"]}
        for found in objects
        if found["kind"] in ("Deployment", "Job", "StatefulSet")
    ]
    for found in objects:
        spec = found.get("spec", {})
        selector = spec.get("selector", spec.get("podSelector", {}))
        wanted = selector.get("matchLabels", selector) if found["kind"] != "Job" else {}
        if not {"matchExpressions"} & wanted.keys():
            assert any(wanted.items() <= one.items() for one in labels), found["metadata"]["name"]
        if found["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in pods(objects)


def test_prometheus_reaches_every_worker(objects: list[dict[str, Any]]) -> None:
    (given,) = (found["data"] for found in objects if found["kind"] == "ConfigMap")
    (policy,) = (found["spec"] for found in objects if found["metadata"]["name"] == "workers")
    (admitted,) = policy["podSelector"]["matchExpressions"]
    workers = {name for name in pods(objects) if name.startswith("worker")}

    assert set(admitted["values"]) == workers
    assert policy["ingress"][0]["ports"] == [{"port": "metrics"}]
    for found in objects:
        if found["metadata"]["name"] in workers and found["kind"] == "Deployment":
            template = found["spec"]["template"]
            (port,) = template["spec"]["containers"][0]["ports"]
            assert port == {"name": "metrics", "containerPort": int(given["METRICS_PORT"])}
            assert template["metadata"]["annotations"]["prometheus.io/port"] == given["METRICS_PORT"]
