"""Which event loop: uvloop where it is installed (it comes with uvicorn[standard]), asyncio's own otherwise."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """For asyncio.Runner's `loop_factory`."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
