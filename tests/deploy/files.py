"""What stands in the files of `deploy/`, read as the programs that they are for would read it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
DOCKERFILE = DEPLOY / "Dockerfile"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
NGINX = DEPLOY / "nginx" / "llm-chat.conf"
CADDYFILES = [DEPLOY / "caddy" / "Caddyfile", DEPLOY / "compose" / "Caddyfile"]
PAGE = ROOT / "docs" / "deploy.md"


def texts() -> dict[str, str]:
    """Every file, and the page about them, by its name."""
    files = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
    return {str(path.relative_to(ROOT)): path.read_text() for path in [*files, PAGE]}


def compose() -> dict[str, Any]:
    """The services of the compose file."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return services


def manifests() -> list[dict[str, Any]]:
    """Every Kubernetes object."""
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]


def manifest(kind: str, name: str) -> dict[str, Any]:
    """One of them."""
    [found] = [one for one in manifests() if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pod(name: str) -> dict[str, Any]:
    """The pod of a deployment."""
    spec: dict[str, Any] = manifest("Deployment", name)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    """Its only container."""
    [found] = pod(name)["containers"]
    one: dict[str, Any] = found
    return one


def pod_environment(name: str) -> dict[str, str]:
    """The variables that its container is given literally."""
    return {one["name"]: one["value"] for one in container(name)["env"]}


def unit(name: str) -> dict[str, list[str]]:
    """The lines of a systemd unit, by key, over all its sections."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / f"{name}.service").read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def unit_environment(name: str) -> dict[str, str]:
    """The variables that a unit sets itself."""
    words = " ".join(unit(name)["Environment"]).split()
    return dict(word.split("=", 1) for word in words)


def image_environment() -> dict[str, str]:
    """The variables of the image."""
    return dict(re.findall(r"^(?:ENV|   ) ?([A-Z_]+)=(\S+)", DOCKERFILE.read_text(), re.MULTILINE))


def env_file(path: Path) -> dict[str, str]:
    """The assignments of such a file; those that are commented out too."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", path.read_text(), re.MULTILINE))


def seconds(text: str) -> float:
    """A duration as systemd, nginx, Caddy and Compose write it."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|)", text)
    assert match is not None, text
    return int(match[1]) * {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def directives(text: str, name: str) -> Iterator[str]:
    """What follows a name in a configuration of nginx or Caddy, wherever it stands."""
    for match in re.finditer(rf"^\s*{re.escape(name)}\s+([^;#\n]+?);?\s*(?:#.*)?$", text, re.MULTILINE):
        yield match[1]
