"""Imports run one way: gateway -> shared <- worker, and downwards inside the gateway. Read from the sources."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "worker", "shared")
MAY_USE = {"gateway": {"gateway", "shared"}, "worker": {"worker", "shared"}, "shared": {"shared"}}
LEAVES = {"shared.messages", "shared.request", "shared.clock", "shared.errors"}
GATEWAY_LAYERS = (  # the first is the highest; none may reach one above it, by whatever way
    {"gateway.__main__"},
    {"gateway.server"},
    {"gateway.app"},
    {"gateway.websocket", "gateway.health", "gateway.pages", "gateway.rest", "gateway.vercel", "gateway.describe"},
    {"gateway.openai.routes"},
    {"gateway.openai.chat", "gateway.openai.responses", "gateway.openai.socket"},
    {"gateway.streams"},
    {"gateway.auth.middleware", "gateway.auth.desk"},
    {"gateway.auth.opening"},
    {"gateway.auth.gate"},
    {"gateway.hub"},
    {"gateway.paging"},
    {"gateway.reviving"},
    {"gateway.submitting"},
    {"gateway.history"},
    {"gateway.protocol", "gateway.plain", "gateway.line", "gateway.outbox", "gateway.dialect", "gateway.conversation"},
    {"gateway.ws.protocol", "gateway.ws.asgi", "gateway.ws.parser", "gateway.ws.handshake", "gateway.ws.keepalive"},
)
PURE = (
    "gateway.protocol",
    "gateway.plain",
    "gateway.line",
    "gateway.dialect",
    "gateway.ws.codes",
    "gateway.ws.frames",
    "gateway.ws.handshake",
    "gateway.ws.parser",
    "gateway.auth.keys",
    "gateway.auth.jwt_keys",
    "gateway.auth.jwt_check",
    "gateway.auth.tickets",
    "gateway.auth.credentials",
    *(f"gateway.openai.{side}_{what}" for side in ("chat", "response") for what in ("request", "reply")),
    "gateway.openai.form",
    "gateway.conversation",
    "shared.window",
    "worker.batching",
    "shared.brokers.state",
)
IMPURE = {"asyncio", "os", "socket", "subprocess", "threading", "time", "multiprocessing"}


class Import(NamedTuple):
    """`typing`: only type checkers follow it."""

    name: str
    typing: bool


def read_project(root: Path) -> dict[str, str]:
    """The source of each of our modules."""
    found = {}
    for path in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imports(module: str, modules: Mapping[str, str]) -> list[Import]:
    """What a module imports, wherever in it: of `from a import b`, a.b if that is one of `modules`, else a."""
    tree = ast.parse(modules[module])
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    is_package = any(name.startswith(module + ".") for name in modules)
    base = module.split(".") if is_package else module.split(".")[:-1]
    return [Import(name, id(node) in guarded) for node in ast.walk(tree) for name in _names(node, base, modules)]


def _names(node: ast.AST, base: list[str], modules: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = base[: len(base) - node.level + 1] if node.level else []
        whole = ".".join([*start, *filter(None, [node.module])])
        inner = [f"{whole}.{alias.name}" for alias in node.names]
        yield from (name if name in modules else whole for name in inner)


def problems(modules: Mapping[str, str]) -> list[str]:
    """What is wrong, one sentence each."""
    graph = {name: imports(name, modules) for name in modules}
    forbidden = [
        f"{name} imports {found.name}" for name in graph for found in graph[name] if _forbidden(name, found.name)
    ]
    edges = {name: {found.name for found in graph[name] if not found.typing} & graph.keys() for name in graph}
    return [*forbidden, *_upward(edges), *_cyclic(edges)]


def _forbidden(module: str, target: str) -> bool:
    package, wanted = module.split(".")[0], target.split(".")[0]
    ours = wanted in (*PACKAGES, "tests", "benchmarks")
    concrete = target.startswith(("shared.brokers.", "shared.store."))
    pure = any(module == name or module.startswith(name + ".") for name in PURE)
    return (
        (ours and wanted not in MAY_USE[package])
        or (ours and module in LEAVES)
        or (concrete and not (module + ".").startswith(("shared.brokers.", "shared.store.")))
        or (pure and wanted in IMPURE)
    )


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        new = edges[ahead.pop()] - seen
        seen |= new
        ahead += new
    return seen


def _upward(edges: Mapping[str, set[str]]) -> Iterator[str]:
    for depth, layer in enumerate(GATEWAY_LAYERS):
        above = set().union(*GATEWAY_LAYERS[:depth])
        for module in sorted(layer & edges.keys()):
            yield from (f"{module} reaches up to {name}" for name in sorted(_reachable(module, edges) & above))


def _cyclic(edges: Mapping[str, set[str]]) -> Iterator[str]:
    for name in edges:
        if name in _reachable(name, edges):
            yield f"{name} imports itself by way of others"


def test_imports_run_one_way() -> None:
    modules = read_project(ROOT)
    assert {"shared.messages", "shared.brokers", "gateway", "worker"} <= modules.keys()
    assert problems(modules) == []


OTHERS = {
    **dict.fromkeys(("gateway", "gateway.app", "gateway.hub", "worker.runner", "shared", "shared.sub"), ""),
    **dict.fromkeys(("shared.brokers", "shared.brokers.memory", "shared.brokers.redis"), ""),
    **dict.fromkeys(("shared.store", "shared.store.sql"), ""),
    "gateway.bypass": "from gateway import hub, round",
}


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("gateway.bad", "from worker.runner import Runner", "gateway.bad imports worker.runner"),
        ("worker.bad", "def late():\n    import gateway.hub", "worker.bad imports gateway.hub"),
        ("shared.bad", "from gateway import hub", "shared.bad imports gateway.hub"),
        ("shared.sub.bad", "from ...worker import runner", "shared.sub.bad imports worker.runner"),
        ("shared.messages", "import shared.errors", "shared.messages imports shared.errors"),
        ("gateway.bad", "import tests.conftest", "gateway.bad imports tests.conftest"),
        ("worker.bad", "from benchmarks import proc", "worker.bad imports benchmarks"),
        ("gateway.bad", "from shared.brokers.memory import X", "gateway.bad imports shared.brokers.memory"),
        ("worker.bad", "from shared.brokers import redis", "worker.bad imports shared.brokers.redis"),
        ("gateway.bad", "from shared.store.sql import X", "gateway.bad imports shared.store.sql"),
        ("gateway.hub", "from gateway import app", "gateway.hub reaches up to gateway.app"),
        ("gateway.line", "import gateway.bypass", "gateway.line reaches up to gateway.hub"),
        ("gateway.line", "from . import bypass", "gateway.line reaches up to gateway.hub"),
        ("gateway.round", "from gateway.bypass import x", "gateway.round imports itself by way of others"),
        ("gateway.protocol", "import asyncio", "gateway.protocol imports asyncio"),
        ("shared.brokers.state.bad", "from time import monotonic", "shared.brokers.state.bad imports time"),
    ],
)
def test_a_bad_import_is_found(module: str, source: str, problem: str) -> None:
    assert problem in problems({**OTHERS, module: source})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.fine", "from shared.brokers import open_gateway_broker"),
        ("gateway.hub", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gateway.app import App"),
        ("shared.brokers.fine", "from shared.brokers.memory import X\nimport asyncio"),
        ("gateway.app", "import gateway.hub, shared.messages, os"),
    ],
)
def test_a_good_import_passes(module: str, source: str) -> None:
    assert problems({**OTHERS, module: source}) == []


CHECKER = ROOT / "tests" / "chaos" / "checker"


def foreign(source: str) -> list[str]:
    """What a module of the chaos checker imports of ours from outside the checker: it shares no code with what it
    judges, nor with what ran it."""
    names = {found.name for found in imports("checker", {"checker": source})}
    ours = {name for name in names if name.split(".")[0] in (*PACKAGES, "tests", "")}
    return sorted(name for name in ours if not f"{name}.".startswith("tests.chaos.checker."))


@pytest.mark.parametrize("path", sorted(CHECKER.rglob("*.py")), ids=lambda path: str(path.relative_to(CHECKER)))
def test_the_checker_judges_alone(path: Path) -> None:
    assert foreign(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from shared.messages import Cursor",
        "import worker.run",
        "def late():\n    from gateway import hub",
        "from tests.chaos.records import Journal",
        "from tests.chaos import checker_of_others",
        "from . import record",
    ],
)
def test_a_checker_that_borrows_is_found(source: str) -> None:
    assert foreign(source)


def test_a_checker_may_use_itself_and_the_standard_library() -> None:
    assert foreign("import json\nfrom tests.chaos.checker.record import Record") == []
