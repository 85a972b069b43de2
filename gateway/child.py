"""One of several gateways: `python -m gateway.child DESCRIPTOR...`, started by gateway.supervisor only.

Settings come by the environment, the listening sockets are inherited.
"""

import socket
import sys
from collections.abc import Sequence

from gateway.process import serve
from shared import logs
from shared.settings import load


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    settings = load("gateway", [], "gateway")
    logs.setup(settings.log, "gateway")
    sockets = [socket.socket(fileno=int(descriptor)) for descriptor in argv]
    for one in sockets:
        one.set_inheritable(False)
    return serve(settings, sockets, has_parent=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
