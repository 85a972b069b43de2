"""The service that foreign clients are tried against, and how they are run."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes.service import Gateway, running_service

HERE = Path(__file__).parent
SECONDS = 60.0
Gateways = tuple[Gateway, Gateway]


def echo(text: str, chunks: int = 5) -> str:
    """What the engine replies."""
    return "\n".join(f"chunk {number}: {text}" for number in range(1, chunks + 1))


@contextmanager
def two_gateways(directory: Path) -> Iterator[Gateways]:
    """And a worker."""
    with running_service(directory, LLM_CHAT_ECHO_INTERVAL="0.02") as service:
        found = service.gateway(), service.gateway()
        service.worker()
        for gateway in found:
            service.ready(gateway)
        yield found


def base_urls(gateways: Gateways) -> list[str]:
    """As OpenAI's clients want them."""
    return [f"http://127.0.0.1:{gateway.port}/v1" for gateway in gateways]


def output_of(*command: str, directory: Path = HERE, environment: Mapping[str, str] | None = None) -> str:
    """Of a client that succeeds."""
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def result_of(gateways: Gateways, *command: str, directory: Path = HERE) -> Any:
    """Of a script that takes two base URLs and prints JSON."""
    return json.loads(output_of(*command, *base_urls(gateways), directory=directory).splitlines()[-1])
