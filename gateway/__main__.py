"""`python -m gateway`: settings, sockets, and then one gateway or several."""

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0 after a signal, 1 where it cannot serve, 2 where a setting is wrong."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_early)
    from gateway.auth.opening import decided
    from gateway.process import WRONG_SETTING, serve  # these take half a second, in which a stop is no error either
    from gateway.sockets import CannotListen, listen, raise_descriptor_limit
    from gateway.supervisor import supervise
    from shared import logs
    from shared.settings import load

    settings = load("gateway", argv, "gateway")
    logs.setup(settings.log, "gateway")
    raise_descriptor_limit()
    try:
        sockets = listen(settings.host, settings.port)
    except CannotListen as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    try:
        settings = decided(settings, sockets)
    except ValueError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return WRONG_SETTING
    return serve(settings, sockets) if settings.gateway.processes == 1 else supervise(settings, sockets)


def _stop_early(number: int, frame: object) -> None:
    """Until an event loop takes over."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
