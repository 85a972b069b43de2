"""`python -m worker`: the supervisor of engine processes."""

import signal
import sys


def main(argv: list[str]) -> int:
    """Returns the exit status: 0 after a signal, 1 where no broker serves us, 2 for a setting that is wrong."""
    # A signal that comes before its handler is there waits, instead of ending the imports below with a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    import asyncio

    from shared import logs, settings
    from worker.loop import new_event_loop
    from worker.process import Misconfigured
    from worker.supervisor import supervise

    loaded = settings.load("worker", argv, "worker")
    logs.setup(loaded.log, "worker")
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(supervise(loaded))
    except Misconfigured as wrong:
        sys.stderr.write(f"worker: {wrong}\n")
        return wrong.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
