"""docs/protocol.md and the code say the same: every type with its fields, every close code, every error code."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import plain, protocol
from gateway.line import LONGEST
from shared.errors import ChatError
from shared.messages import Receipt, Timing, Usage
from shared.settings import GatewaySettings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "protocol.md").read_text()
NEVER_SENT = {1004, 1005, 1006, 1014}  # by the gateway: what gateway.ws.codes knows besides
ONLY_PLAIN = {"restarted", "lost"}


def section(heading: str) -> str:
    """What stands under a heading, up to the next one of its own or a higher level."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", PAGE, re.MULTILINE)
    assert match is not None, heading
    rest = PAGE[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest if end is None else rest[: end.start()]


def table(heading: str) -> dict[str, list[str]]:
    """The first table under a heading: its rows by what their first cell quotes."""
    rows: dict[str, list[str]] = {}
    for line in section(heading).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and (match := re.fullmatch(r"`([a-z_]+)`|(\d+)", cells[0])):
            name = match[1] or match[2]
            assert name not in rows, f"{name} stands there twice"
            rows[name] = cells[1:]
    return rows


def fields_in(cell: str) -> dict[str, bool]:
    """Names in a cell, and whether they may be missing. What stands in braces is within a field."""
    return {name: mark == "?" for name, mark in re.findall(r"`(\w+)(\??)`", re.sub(r"\{[^}]*\}", "", cell))}


def fields_of(struct: Any) -> dict[str, bool]:
    return {field.encode_name: not field.required for field in msgspec.structs.fields(struct)}


def client_frames() -> dict[str, Any]:
    structs = {name: value for name, value in vars(protocol).items() if inspect.isclass(value)}
    return {kind: structs[f"_{kind.title()}"] for kind in protocol._HANDLERS}


def server_frames() -> dict[str, Any]:
    return {str(frame.__struct_config__.tag): frame for frame in protocol._Frame.__subclasses__()}


@pytest.mark.parametrize(
    ("heading", "frames"), [("What clients send", client_frames()), ("What the server sends", server_frames())]
)
def test_every_type_and_its_fields(heading: str, frames: dict[str, Any]) -> None:
    assert {kind: fields_in(cells[0]) for kind, cells in table(heading).items()} == {
        kind: fields_of(frame) for kind, frame in frames.items()
    }


@pytest.mark.parametrize(
    ("inner", "struct"),
    [
        ("params", protocol.ParamsIn),
        ("usage", Usage),
        ("timing", Timing),
        ("receipt", Receipt),
    ],
)
def test_every_inner_field(inner: str, struct: Any) -> None:
    found = re.search(rf"`{inner}\??` \{{([^}}]*)\}}", PAGE)
    assert found is not None
    assert set(re.findall(r"`(\w+)`", found[1])) == set(fields_of(struct))


def test_every_error_code_and_whether_to_try_again() -> None:
    codes = {code: error.retryable for code, error in ChatError.registry.items() if error.__module__ == "shared.errors"}
    codes[ChatError.code] = ChatError.retryable
    rows = table("Error codes")
    assert set(rows) == set(codes) | ONLY_PLAIN
    assert {code: rows[code][0] for code in codes} == {code: "yes" if again else "no" for code, again in codes.items()}
    assert {said.decode().split(": ")[1] for said in (plain.RESTARTED, plain.LOST)} == ONLY_PLAIN


def close_codes_in_the_code() -> set[int]:
    """Every number in the gateway that can be one."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "gateway").rglob("*.py")]
    numbers = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {n for n in numbers if isinstance(n, int) and (1000 <= n <= 1015 or 4400 <= n <= 4499)}


def test_every_close_code() -> None:
    assert {int(code) for code in table("Close codes")} == close_codes_in_the_code() - NEVER_SENT


def test_the_numbers_are_those_of_the_code() -> None:
    settings = GatewaySettings()
    for number in (f"{settings.max_message_bytes:,} bytes", f"{LONGEST} messages", f"{settings.send_timeout:.0f} s"):
        assert number in PAGE
    assert f"`{protocol.SUBPROTOCOL}`" in PAGE


def test_the_exchange_on_the_page_is_one_that_the_code_understands() -> None:
    sent = re.findall(r"^> (\{.*\})$", PAGE, re.MULTILINE)
    answered = re.findall(r"^< (\{.*\})$", PAGE, re.MULTILINE)
    assert sent
    assert answered
    for text in sent:
        protocol._HANDLERS[msgspec.json.decode(text)["type"]][0](text)
    for text in answered:
        frame = msgspec.json.decode(text)
        fields = fields_of(server_frames()[frame.pop("type")])
        assert {name for name, optional in fields.items() if not optional} <= set(frame) <= set(fields)
