"""Calls to a BrokerState as bytes: MessagePack, typed by the signatures of its methods.

A batch of calls is a list of [method, arguments], its answer a list of [True, result] or [False, [code, message,
detail]].
"""

import inspect
from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec

from shared.brokers.state import BrokerState
from shared.errors import ChatError
from shared.messages import Batch, Polled

METHODS = (
    "open",
    "submit",
    "cancel",
    "attach",
    "detach",
    "read",
    "recall",
    "annotate",
    "newest",
    "forget",
    "spend",
    "leave_gateway",
    "append",
    "release",
    "renew",
    "bury",
    "leave_worker",
    "stats",
)
PollArguments = tuple[str, int, list[int] | None, int, bool]

_encode = msgspec.msgpack.Encoder().encode
_decode_calls = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]]).decode
_decode_answers = msgspec.msgpack.Decoder(list[tuple[bool, msgspec.Raw]]).decode
_decode_error = msgspec.msgpack.Decoder(tuple[str, str, int]).decode
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_polled = msgspec.msgpack.Decoder(Polled).decode
decode_poll = msgspec.msgpack.Decoder(PollArguments).decode
encode = _encode


def _arguments_decoder(method: str) -> "msgspec.msgpack.Decoder[Any]":
    function = getattr(BrokerState, method)
    hints = get_type_hints(function)
    types = [hints[name] for name in inspect.signature(function).parameters if name != "self"]
    return msgspec.msgpack.Decoder(tuple[tuple(types)] if types else tuple[()])  # type: ignore[misc]


_arguments = {method: _arguments_decoder(method) for method in METHODS}
_results = {
    method: msgspec.msgpack.Decoder(get_type_hints(getattr(BrokerState, method))["return"]) for method in METHODS
}


def encode_calls(calls: Sequence[tuple[str, tuple[Any, ...]]]) -> bytes:
    """What a peer sends."""
    return _encode(calls)


def decode_calls(data: bytes) -> list[tuple[str, tuple[Any, ...]]]:
    """What the server is to do. Raises msgspec.DecodeError and KeyError."""
    return [(method, _arguments[method].decode(arguments)) for method, arguments in _decode_calls(data)]


def perform(state: BrokerState, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[bool, Any]]:
    """Do them, in order."""
    answers: list[tuple[bool, Any]] = []
    for method, arguments in calls:
        try:
            answers.append((True, getattr(state, method)(*arguments)))
        except ChatError as error:
            answers.append((False, (error.code, error.message, error.detail)))
    return answers


def decode_answers(methods: Sequence[str], data: bytes) -> list[Any]:
    """What came of the calls to `methods`: each a result, or the error that the method raised."""
    answers = _decode_answers(data)
    return [
        _results[method].decode(result) if fine else ChatError.of(*_decode_error(result))
        for method, (fine, result) in zip(methods, answers, strict=True)
    ]
