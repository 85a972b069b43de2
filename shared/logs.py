"""Logging: structlog and the standard library's loggers (uvicorn's, asyncio's) alike, one line per event, to stderr.

To stderr because stdout belongs to what a program answers, and because it has no buffer that a killed process could
take along. Everything that a stranger may have put into a value is escaped: a line of the log is always ours.
"""

import logging
import os
import re
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.settings import LogSettings

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))
CHATTY = ("httpx2", "httpcore2")  # a line per upstream request at info, several at debug
_COLUMN = 40  # characters that an event's text takes at least, so that the values behind it stand in line


def setup(settings: LogSettings, process: str) -> None:
    """Send all logging of this process to stderr; `process` names it in every line. May be called again."""
    console = style(settings.format, sys.stderr.isatty(), "HONCHO_PROCESS_NAME" in os.environ) == "console"
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(console, sys.stderr, process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def style(format: Literal["auto", "console", "json"], terminal: bool, honcho: bool) -> Literal["console", "json"]:
    """What `auto` comes to. Console on a terminal and under honcho, which gives us a pipe and shows it to people."""
    if format != "auto":
        return format
    return "console" if terminal or honcho else "json"


def _shared() -> list[Processor]:
    return [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]


def _formatter(console: bool, stream: TextIO, process: str) -> logging.Formatter:
    def add_process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**event, "process": process, "pid": os.getpid()}

    def name_process(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**event, "logger": process}

    clean: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    if console:
        clean += [name_process, *_clock(stream), escape, _console(stream)]
    else:
        clean += [add_process, structlog.processors.TimeStamper("iso"), structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(processors=clean, foreign_pre_chain=_shared())


def _clock(stream: TextIO) -> list[Processor]:
    """The time of day, but not into a pipe: honcho, at its end, writes the time before each line itself."""
    return [structlog.processors.TimeStamper("%H:%M:%S", utc=False)] if stream.isatty() else []


def _console(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        repr_native_str=True,
        pad_event_to=_COLUMN,
        exception_formatter=structlog.dev.plain_traceback,
    )


def escape(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Make control characters visible in what the console shows as it is (values it shows by their repr)."""
    for key, pattern in (("event", _CONTROL), ("exception", _CONTROL_BUT_LINES), ("stack", _CONTROL_BUT_LINES)):
        if key in event:
            event[key] = pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), str(event[key]))
    return event
