"""Logging: one line per event, whoever logs, and nothing of a stranger's that moves the terminal."""

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from shared import logs
from shared.settings import LogSettings

Show = Callable[[LogSettings], io.StringIO]


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """Set logging up into a stream that can be read; put back afterwards what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.delenv("HONCHO_PROCESS_NAME", raising=False)

    def show(settings: LogSettings, stream: io.StringIO | None = None) -> io.StringIO:
        stream = stream or io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.setup(settings, "worker.1")
        return stream

    yield show
    root.handlers[:], root.level = handlers, level
    for name in logs.CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def test_json_is_one_object_per_line_with_level_process_and_time(show: Show) -> None:
    out = show(LogSettings(format="json"))
    structlog.get_logger().info("broker is\nup", url="manager:")
    line = json.loads(out.getvalue())
    assert out.getvalue().count("\n") == 1
    assert line.pop("timestamp").endswith("Z")
    expected = {"event": "broker is\nup", "url": "manager:", "level": "info", "process": "worker.1", "pid": os.getpid()}
    assert line == expected


def test_the_standard_librarys_loggers_look_the_same(show: Show) -> None:
    out = show(LogSettings(format="json"))
    logging.getLogger("uvicorn.error").warning("port %d", 80)
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["process"]) == ("port 80", "warning", "worker.1")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_what_is_less_important_than_the_level_is_not_shown(level: str, show: Show) -> None:
    out = show(LogSettings.model_validate({"level": level, "format": "json"}))
    names = ["debug", "info", "warning", "error", "critical"]
    for name in names:
        getattr(structlog.get_logger(), name)("ours")
        getattr(logging.getLogger("some.library"), name)("theirs")
    shown = [(line["event"], line["level"]) for line in map(json.loads, out.getvalue().splitlines())]
    assert shown == [(who, name) for name in names[names.index(level) :] for who in ("ours", "theirs")]


def test_upstream_requests_are_not_a_line_each(show: Show) -> None:
    out = show(LogSettings(level="debug", format="json"))
    logging.getLogger("httpx2").info("HTTP Request: POST")
    logging.getLogger("httpcore2.http11").debug("send_request_headers")
    assert out.getvalue() == ""


def test_the_console_shows_control_characters_instead_of_obeying_them(show: Show) -> None:
    out = show(LogSettings(format="console"))
    nasty = "\x1b[2J\r\nfaked line\u202e\x9b1m\u2028"
    structlog.get_logger().info(f"ours {nasty}", value=nasty, many=[nasty])
    logging.getLogger("uvicorn.error").warning("theirs %s", nasty)
    assert out.getvalue().count("\n") == 2
    assert out.getvalue().replace("\n", "").isprintable()
    assert "\\x1b[2J\\r\\nfaked line\\u202e" in out.getvalue()


@pytest.mark.parametrize("format", ["console", "json"])
def test_an_exception_is_shown_with_its_traceback_and_escaped(format: str, show: Show) -> None:
    out = show(LogSettings.model_validate({"format": format}))
    try:
        raise ValueError("bad \x1b[2J")
    except ValueError:
        structlog.get_logger().exception("ours")
        logging.getLogger("asyncio").exception("theirs")
    assert out.getvalue().count("Traceback (most recent call last)") == 2
    assert out.getvalue().count("ValueError: bad ") == 2
    assert "\x1b" not in out.getvalue()


def test_the_time_is_left_to_honcho_where_it_shows_one(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONCHO_PROCESS_NAME", "worker.1")
    out = show(LogSettings())
    structlog.get_logger().info("hello", n=1)
    assert " ".join(out.getvalue().split()) == "[info ] hello [worker.1] n=1"


def test_a_terminal_gets_time_and_colour(show: Callable[..., io.StringIO]) -> None:
    out = show(LogSettings(), Terminal())
    structlog.get_logger().info("hello")
    assert out.getvalue().startswith("\x1b[")
    assert out.getvalue().count(":") == 2


@pytest.mark.parametrize(
    ("format", "terminal", "honcho", "style"),
    [
        ("auto", True, False, "console"),
        ("auto", False, True, "console"),
        ("auto", False, False, "json"),
        ("json", True, True, "json"),
        ("console", False, False, "console"),
    ],
)
def test_auto_is_console_where_people_read(format: str, terminal: bool, honcho: bool, style: str) -> None:
    assert logs.style(LogSettings.model_validate({"format": format}).format, terminal, honcho) == style


def test_setting_up_again_replaces_what_was(show: Show) -> None:
    first = show(LogSettings(format="json"))
    second = show(LogSettings(format="json"))
    structlog.get_logger().info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)
