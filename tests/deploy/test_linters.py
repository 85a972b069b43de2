"""The files of `deploy/` by the word of the programs that they are for, or of linters that know them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy import files
from tests.deploy.proxies import caddy_config, command_of, make_certificate, nginx_config


def run(*argv: str | Path, **environment: str) -> str:
    """What it says, on both of its outputs; it must say that all is well."""
    done = subprocess.run(
        argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def optional(name: str) -> str:
    """The path of a program that Debian does not have."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not here; docs/deploy.md says where it comes from")
    return path


def test_nginx_takes_it(tmp_path: Path) -> None:
    config = nginx_config(tmp_path, make_certificate(tmp_path), 1, [2, 3])
    said = run(command_of("nginx"), "-t", "-p", tmp_path, "-c", config)
    assert "[warn]" not in said


@pytest.mark.parametrize("number", range(len(files.CADDYFILES)))
def test_caddy_takes_it_and_would_not_format_it_otherwise(number: int, tmp_path: Path) -> None:
    command, example = command_of("caddy"), files.CADDYFILES[number]
    config = example if number else caddy_config(tmp_path, make_certificate(tmp_path), 1, [2, 3])
    run(
        command,
        "validate",
        "--adapter",
        "caddyfile",
        "--config",
        config,
        HOME=str(tmp_path),
        XDG_DATA_HOME=str(tmp_path),
    )
    assert run(command, "fmt", example, HOME=str(tmp_path)) == example.read_text()


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """With a Python that is here; nothing else is exchanged."""
    for path in files.UNITS:
        name = path.name.replace("@", "@8081")
        (tmp_path / name).write_text(re.sub(r"/opt/llm-chat/bin/python", "/bin/true", path.read_text()))
    said = run(optional("systemd-analyze"), "verify", "--man=no", *sorted(tmp_path.glob("*.service")))
    assert str(tmp_path) not in said


@pytest.mark.parametrize("path", files.UNITS, ids=lambda path: path.stem)
def test_systemd_calls_the_units_well_shut_off(path: Path) -> None:
    """It counts what a unit may do: 0 is nothing, 10 everything."""
    command = optional("systemd-analyze")
    run(command, "security", "--offline=yes", "--threshold=25", path)


def test_kustomize_puts_the_manifests_together() -> None:
    said = run(optional("kubectl"), "kustomize", files.DEPLOY / "kubernetes")
    assert len(re.findall(r"^kind: ", said, re.MULTILINE)) == len(files.manifests()) - 1
    assert "image: registry.example.org/llm-chat:" in said


def test_kubernetes_knows_every_field() -> None:
    objects = [path for path in files.MANIFESTS if path.name != "kustomization.yaml"]
    said = run(optional("kubernetes-validate"), "--strict", *objects)
    assert re.findall(r"^WARN .*kind (\w+)", said, re.MULTILINE) == ["ScaledObject"]


def test_hadolint_has_nothing_to_say() -> None:
    assert run(optional("hadolint"), files.DOCKERFILE) == ""


def test_compose_understands_it() -> None:
    run(optional("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", files.COMPOSE)


def test_docker_compose_understands_it(tmp_path: Path) -> None:
    command = optional("docker-compose")
    if "version 1." in run(command, "version"):
        pytest.skip("this docker-compose is too old")
    environment = tmp_path / "env"
    environment.write_text((files.COMPOSE.parent / "env.example").read_text().replace("PASSWORD=\n", "PASSWORD=abc\n"))
    said = run(command, "--env-file", environment, "-f", files.COMPOSE, "config")
    assert "redis://:abc@redis:6379/0" in said
