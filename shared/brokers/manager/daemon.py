"""Starting the embedded broker: as a process of its own, in a session of its own, so that no gateway's end takes it
along."""

import os
import subprocess
import sys
from collections.abc import Mapping

from shared.brokers.manager.home import Home


class Daemon:
    """Starts the broker of a home when asked to; a second one ends by itself at the lock."""

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = dict(environment)
        self._started: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Start one, unless the last one is still coming up."""
        if self._started is not None and self._started.poll() is None:
            return
        # Output to a file: a pipe that it inherits would keep whoever reads it (honcho) waiting for its end.
        with open(self._home.log_path, "ab", opener=_private) as log:
            self._started = subprocess.Popen(
                [sys.executable, "-m", "shared.brokers.manager", "--embedded"],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def reap(self) -> None:
        """Forget the process; it lives on. Its end is nobody's business here."""
        if self._started is not None:
            self._started.poll()
            self._started.returncode = self._started.returncode or 0  # no ResourceWarning for a process left on purpose


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
