"""Starting the embedded broker: as a process of its own, in a session of its own, so that no gateway's end takes it
along."""

import os
import subprocess
import sys
from collections.abc import Mapping

from shared.brokers.manager.home import Home
from shared.private import private


class Daemon:
    """Starts the broker of a home when asked to; a second one ends by itself at the lock."""

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = dict(environment)
        self._pid = 0

    def __call__(self) -> None:
        """Start one, unless the last one is still there: it is coming up, or hangs, and a second would not help."""
        if self._pid and self._lives():
            return
        # Output to a file: a pipe that it inherits would keep whoever reads it (honcho) waiting for its end.
        with open(self._home.log_path, "ab", opener=private) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "shared.brokers.manager", "--embedded"],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid = process.pid
        process.returncode = 0  # it outlives this process on purpose, and Popen is not to complain of that

    def _lives(self) -> bool:
        try:
            return os.waitpid(self._pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False
