"""The transitions as Lua scripts: each is put together from the parts of `lua/` that it needs, with the limits
written into it, so that it is sent once and then named by its SHA-1."""

import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from shared.brokers.state import Limits, terminals
from shared.errors import ChatError, Expired, WorkerLost
from shared.messages import encode_events, text_sha256

PREFIX = "{llm-chat}:"  # of every key and channel; one hash tag, so that a cluster keeps them together
META = PREFIX + "meta"
WAKE = PREFIX + "wake:"  # and the name of a peer: the channel on which it hears that there is news
DEAD = PREFIX + "dead"
DEAD_LETTERS = 10_000  # kept at most
DEAD_SECONDS = 7 * 24 * 3600  # after the last one of them
METHODS = (
    "open",
    "submit",
    "cancel",
    "attach",
    "detach",
    "drain",
    "batch",
    "read",
    "recall",
    "annotate",
    "newest",
    "forget",
    "spend",
    "leave_gateway",
    "poll",
    "polled",
    "append",
    "release",
    "renew",
    "leave",
    "stats",
    "finish",
    "tick",
    "greet",
    "raw",
    "mend",
    "letters",
    "discard",
)
_NEEDS = re.compile(r"^-- needs: (.*)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Script(NamedTuple):
    """`sha` is what a server knows it by."""

    source: bytes
    sha: bytes


def scripts(limits: Limits) -> dict[str, Script]:
    """All of them, by the names of `METHODS`."""
    head = f"local LIMIT = {_lua(_constants(limits))}\n"
    return {method: _script(head + _assembled(f"calls/{method}")) for method in METHODS}


def ttl(limits: Limits) -> int:
    """Seconds after which a key goes that nobody has touched: whatever lives is touched once in every retention."""
    return 3600 + round(4 * (limits.retention + limits.queue_timeout + limits.lease))


def _constants(limits: Limits) -> dict[str, Any]:
    failures = {"worker_lost": WorkerLost(), "expired": Expired(), "internal": ChatError()}
    return {
        **limits._asdict(),
        "idle_tick": limits.idle_tick,
        "ttl": ttl(limits),
        "dead": DEAD_LETTERS,
        "dead_ttl": DEAD_SECONDS,
        "sha_of_nothing": text_sha256(""),
        "failures": {reason: encode_events([terminals.failed(error)]) for reason, error in failures.items()},
    }


def _script(source: str) -> Script:
    data = source.encode()
    return Script(data, hashlib.sha1(data, usedforsecurity=False).hexdigest().encode())


def _assembled(name: str) -> str:
    parts: dict[str, str] = {}
    _gather(name, parts)
    return "".join(parts.values())


def _gather(name: str, parts: dict[str, str]) -> None:
    """What it needs comes before it, and once."""
    if name in parts:
        return
    source = (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    for needed in _NEEDS.findall(source):
        for part in needed.split(", "):
            _gather(part, parts)
    parts[name] = _COMMENT.sub("", source)


def _lua(value: Any) -> str:
    """A constant as Lua writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_lua(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, (str, bytes)):
        data = value.encode() if isinstance(value, str) else value
        return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'
    return repr(value)
