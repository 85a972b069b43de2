"""The files of `deploy/` name what there is: settings, modules, ports, paths, extras, each other."""

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import Settings, entries, read
from tests.deploy import files

KNOWN = {entry.variable for entry in entries()}
PORT = str(Settings.model_construct().port)


def environments() -> dict[str, dict[str, str]]:
    """Everything that sets variables of ours, by where it stands."""
    found = {
        "image": files.image_environment(),
        "env file": files.env_file(files.DEPLOY / "systemd" / "llm-chat.env"),
        "config map": files.manifest("ConfigMap", "llm-chat")["data"],
        **{f"pod {name}": files.pod_environment(name) for name in ("gateway", "worker")},
        **{f"compose {name}": files.compose()[name]["environment"] for name in ("gateway", "worker")},
        **{f"unit {path.stem}": files.unit_environment(path.stem) for path in files.UNITS},
    }
    return {where: {name: text for name, text in given.items() if name in KNOWN} for where, given in found.items()}


def test_every_variable_exists() -> None:
    for name, text in files.texts().items():
        assert set(re.findall(r"LLM_CHAT_[A-Z_]+[A-Z]", text)) <= KNOWN, name


@pytest.mark.parametrize("where", environments())
def test_every_value_can_be(where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = environments()[where]
    assert given
    monkeypatch.chdir(tmp_path)
    for name, text in given.items():
        default = re.search(r"\$\{\w+:[-?]([^}]*)\}", text)  # as Compose writes it
        monkeypatch.setenv(name, default[1] if default and default[0] == text else text)
    read(where, [])


def test_every_module_that_is_started_exists() -> None:
    started = [module for text in files.texts().values() for module in re.findall(r"\bpython -m ([\w.]+)", text)]
    for service in (*files.compose().values(), files.container("gateway"), files.container("worker")):
        words = service.get("command", [])
        started += [words[2]] if words[:2] == ["python", "-m"] else []
    assert {"gateway", "worker", "shared.brokers.manager", "gateway.keys"} <= set(started)
    for module in set(started) - {"pip", "venv", "pytest", "tests.chaos"}:
        assert importlib.util.find_spec(module), module


def test_every_extra_of_the_image_exists() -> None:
    project = tomllib.loads((files.ROOT / "pyproject.toml").read_text())["project"]
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", files.DOCKERFILE.read_text())
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_the_image_gets_what_it_is_made_of_and_nothing_else() -> None:
    lines = (files.ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((files.ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert let_in == {*packages, "pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    assert "*" in lines


def test_one_port_from_the_setting_to_the_balancer() -> None:
    assert files.image_environment()["LLM_CHAT_PORT"] == PORT
    assert re.findall(r"^EXPOSE (\d+)$", files.DOCKERFILE.read_text(), re.MULTILINE) == [PORT]
    assert files.pod_environment("gateway")["LLM_CHAT_PORT"] == PORT
    [port] = files.container("gateway")["ports"]
    assert (port["name"], str(port["containerPort"])) == ("http", PORT)
    [of_service] = files.manifest("Service", "gateway")["spec"]["ports"]
    assert (str(of_service["port"]), of_service["targetPort"]) == (PORT, "http")
    assert list(files.directives(files.CADDYFILES[1].read_text(), "port")) == [PORT]


def test_the_proxies_know_the_ports_of_the_units() -> None:
    units = set(
        re.findall(r"llm-chat-gateway@(\d+)", (files.DEPLOY / "systemd" / "llm-chat-gateway@.service").read_text())
    )
    assert len(units) == 2
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", files.NGINX.read_text())) == units
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", files.CADDYFILES[0].read_text())) == units
    after = " ".join(files.unit("llm-chat-worker@")["After"])
    assert set(re.findall(r"llm-chat-gateway@(\d+)", after)) == units


def test_probes_go_where_somebody_answers() -> None:
    from gateway import health

    container = files.container("gateway")
    probes = [container[name]["httpGet"] for name in ("readinessProbe", "livenessProbe", "startupProbe")]
    paths = [probe["path"] for probe in probes]
    paths += [line.split()[-1] for line in re.findall(r"health_uri \S+", files.CADDYFILES[0].read_text())]
    paths += re.findall(
        r"http://gateway\.llm-chat\.svc:8080(\S+)", (files.DEPLOY / "kubernetes" / "scaling.yaml").read_text()
    )
    assert len(paths) == 6
    routes = {f"/{name}" for name in ("livez", "readyz") if hasattr(health.Health, name)}
    assert {path.partition("?")[0] for path in paths} == routes
    excluded = {name for path in paths for name in re.findall(r"exclude=(\w+)", path)}
    assert excluded <= set(health.checks(False, None))
    assert {probe["port"] for probe in probes} == {"http"}


def test_the_autoscaler_reads_numbers_that_are_there() -> None:
    from shared.messages import Stats

    triggers = files.manifest("ScaledObject", "worker")["spec"]["triggers"]
    fields = [trigger["metadata"]["valueLocation"].removeprefix("broker.") for trigger in triggers]
    assert fields == ["running", "queued"]
    assert set(fields) <= set(Stats.__struct_fields__)
    slots = int(files.pod_environment("worker")["LLM_CHAT_WORKER_SLOTS"])
    assert 0 < int(triggers[0]["metadata"]["targetValue"]) < slots


def test_objects_refer_to_objects() -> None:
    found = {(one["kind"], one["metadata"]["name"]) for one in files.manifests() if one["kind"] != "Kustomization"}
    assert ("Deployment", files.manifest("ScaledObject", "worker")["spec"]["scaleTargetRef"]["name"]) in found
    [rule] = files.manifest("Ingress", "llm-chat")["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert ("Service", path["backend"]["service"]["name"]) in found
    secrets = set(re.findall(r"create secret generic ([\w-]+)", files.PAGE.read_text()))
    asked = {
        source[kind]["name"]
        for name in ("gateway", "worker")
        for source in files.container(name)["envFrom"]
        for kind in source
        if kind == "secretRef"
    }
    asked |= {volume["secret"]["secretName"] for volume in files.pod("gateway")["volumes"] if "secret" in volume}
    redis = files.manifest("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"][0]["env"]
    asked |= {one["valueFrom"]["secretKeyRef"]["name"] for one in redis}
    assert asked == secrets
    for kind in ("Deployment", "PodDisruptionBudget", "Service"):
        one = files.manifest(kind, "gateway")["spec"]
        selector = one["selector"].get("matchLabels", one["selector"])
        assert selector == {"app.kubernetes.io/name": "gateway"}


def test_kustomize_takes_every_file() -> None:
    listed = yaml.safe_load((files.DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {path.name for path in files.MANIFESTS} - {"kustomization.yaml"}


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_nothing_runs_as_root_or_may_become_it(name: str) -> None:
    user = re.findall(r"^USER (\d+):\d+$", files.DOCKERFILE.read_text(), re.MULTILINE)
    assert user == [str(files.pod(name)["securityContext"]["runAsUser"])]
    assert files.pod(name)["securityContext"]["runAsNonRoot"] is True
    assert files.container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    service: dict[str, Any] = files.compose()[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    for path in files.UNITS:
        assert files.unit(path.stem)["User"] == ["llm-chat"]
        assert files.unit(path.stem)["NoNewPrivileges"] == ["yes"]
