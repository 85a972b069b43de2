"""`python -m shared.brokers.manager`: the broker as a process of its own, so that it can outlive the gateway."""

import sys

from shared import logs
from shared.brokers.limits import limits_of
from shared.brokers.manager.home import Home
from shared.brokers.manager.server import serve
from shared.settings import load


def main() -> int:
    """Serve; `--embedded` (said by the gateway that starts it): end when nobody needs it any more."""
    embedded = "--embedded" in sys.argv[1:]
    settings = load("python -m shared.brokers.manager", [word for word in sys.argv[1:] if word != "--embedded"])
    logs.setup(settings.log, "broker")
    try:
        home = Home.of_url(settings.broker.url)
        home.prepare()
        status = serve(home, limits_of(settings), embedded=embedded)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if status and not embedded:
        sys.stderr.write(f"a broker is already running in {home.directory}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
