"""Foreign clients, each in an environment of its own, so that their pins do not meet. Made once and kept beside the
system's other temporary files."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.conftest import require

CACHE = Path(tempfile.gettempdir()) / f"llm-chat-clients-{os.getuid()}"
SECONDS = 170.0  # for an installation


def python_with(*packages: str) -> Path:
    """An interpreter that has these packages."""

    def make(directory: Path) -> None:
        _run([sys.executable, "-m", "venv", str(directory)])
        _run([str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages])

    return _made(f"python{sys.version_info[0]}.{sys.version_info[1]}", packages, make) / "bin" / "python"


def node_with(*packages: str) -> Path:
    """A directory whose scripts may import these packages."""
    require(shutil.which("npm"), "needs Node.js and npm: apt-get install nodejs npm")

    def make(directory: Path) -> None:
        directory.mkdir()
        (directory / "package.json").write_text('{"private": true, "type": "module"}')
        _run(["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], directory)

    return _made("node", packages, make)


def _made(kind: str, packages: tuple[str, ...], make: Callable[[Path], None]) -> Path:
    """Beside a stamp that says that it is whole: interpreters cannot be moved once they are made."""
    name = f"{kind}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    directory, stamp = CACHE / name, CACHE / f"{name}.made"
    if stamp.exists():
        return directory
    CACHE.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        make(directory)
    except (OSError, subprocess.SubprocessError) as error:
        require(False, f"cannot install {' '.join(packages)}: {error}")
    stamp.touch()
    return directory


def _run(command: list[str], directory: Path | None = None) -> None:
    subprocess.run(command, cwd=directory, check=True, timeout=SECONDS, capture_output=True)
