"""What is put into the service's processes from outside: inert unless asked for, and never in their way."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.outbox import Outbox
from gateway.protocol import JsonDialect
from shared.messages import Delta, Flush, Item, Refusal, Tally, encode_events
from tests.chaos.witness import crash, gateway, hooks, install, mutations, worker
from tests.chaos.witness.tape import Tapes
from tests.gateway.chatting import FakeWriter
from tests.processes.service import ROOT

INJECT = ROOT / "tests" / "chaos" / "inject"
LEASE = SimpleNamespace(session="s1", id="m1", generation=100, attempt=1, nonce="0000abcd")


@pytest.fixture
def tapes(tmp_path: Path) -> Iterator[Tapes]:
    """Where records go."""
    tapes = Tapes(tmp_path)
    yield tapes
    tapes.close()


def python(code: str, **environment: str) -> str:
    """What a Python process prints that has the directory on its path."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(INJECT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def records(directory: Path, role: str) -> list[dict[str, Any]]:
    """What this process has written in that role."""
    path = directory / f"{role}-{os.getpid()}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_service_itself_holds_no_hook() -> None:
    sources = [path for package in ("gateway", "worker", "shared") for path in (ROOT / package).rglob("*.py")]
    assert len(sources) > 50
    assert [path for path in sources if "chaos" in path.read_text().lower()] == []


LOADED = "import sys, gateway.hub; print('tests' in sys.modules, gateway.hub.Hub.deliver.__module__)"


def test_nothing_happens_unless_a_directory_is_named() -> None:
    assert python(LOADED) == "False gateway.hub"


def test_the_path_is_as_it_was_before(tmp_path: Path) -> None:
    code = "import sys; print(sys.path)"
    assert python(code, CHAOS_DIRECTORY=str(tmp_path)) == python(code)


OFFSET = "import time; from shared.clock import SystemClock as C; print(C().wall_ms() - time.time() * 1000)"


@pytest.mark.parametrize(("offset", "wanted"), [("", 0), ("0", 0), ("3600000", 3_600_000), ("-3600000", -3_600_000)])
def test_the_wall_clock_is_set_off(tmp_path: Path, offset: str, wanted: int) -> None:
    printed = float(python(OFFSET, CHAOS_DIRECTORY=str(tmp_path), CHAOS_WALL_OFFSET_MS=offset))
    assert printed == pytest.approx(wanted, abs=50)


def test_durations_stay_true(tmp_path: Path) -> None:
    code = "import time; from shared.clock import SystemClock as C; print(C().now() - time.monotonic())"
    printed = float(python(code, CHAOS_DIRECTORY=str(tmp_path), CHAOS_WALL_OFFSET_MS="3600000"))
    assert printed == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("wrong", [{"CHAOS_MUTATION": "no_such"}, {"CHAOS_CRASH": "nowhere"}])
def test_a_name_that_does_not_exist_is_an_error(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no_such|nowhere"):
        install({"CHAOS_DIRECTORY": str(tmp_path), **wrong})


# --- patching -------------------------------------------------------------------------------------------------------


class Service:
    """Something to be watched."""

    def double(self, number: int) -> int:
        """Does what it says."""
        return number * 2


def test_a_method_is_seen_before_and_after(tapes: Tapes) -> None:
    class Watched(Service):
        pass

    seen: list[tuple[str, int]] = []
    watching = hooks.Watching(tapes)
    watching.before(Watched, "double", lambda self, number: seen.append(("before", number)))
    watching.after(Watched, "double", lambda result, self, number: seen.append(("after", result)))
    assert Watched().double(2) == 4
    assert seen == [("before", 2), ("after", 4)]


@pytest.mark.parametrize("way", ["before", "after"])
def test_a_witness_that_fails_is_noted_and_the_service_does_not_notice(tmp_path: Path, tapes: Tapes, way: str) -> None:
    class Watched(Service):
        pass

    def fail(*args: object) -> None:
        raise RuntimeError("So.")

    getattr(hooks.Watching(tapes), way)(Watched, "double", fail)
    assert Watched().double(2) == 4
    assert [(r["what"], r["error"]) for r in records(tmp_path, "witness")] == [("witness_failed", "RuntimeError: So.")]


def test_a_patch_that_finds_nothing_to_patch_is_noted(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.path.insert(0, '.')\n"
        "from tests.chaos.witness.hooks import Patches\n"
        "from tests.chaos.witness.tape import Tapes\n"
        f"patches = Patches(Tapes(pathlib.Path({str(tmp_path)!r})))\n"
        "patches.add('gateway.line', lambda module: module.NoSuchThing)\n"
        "patches.listen()\n"
        "import gateway.line; print(gateway.line.LONGEST)"
    )
    assert python(code) == "8"
    assert "NoSuchThing" in next(tmp_path.glob("witness-*.jsonl")).read_text()


def test_what_is_flushed_is_in_the_file(tmp_path: Path, tapes: Tapes) -> None:
    tape = tapes.of("worker")
    tape.add("append", first=1)
    assert records(tmp_path, "worker") == []
    tape.add("append", first=2)
    tape.flush()
    assert [record["first"] for record in records(tmp_path, "worker")] == [1, 2]
    tape.write("crashed", point="claimed")
    assert records(tmp_path, "worker")[2]["what"] == "crashed"


def test_a_mutation_tells_once_that_it_struck(tmp_path: Path, tapes: Tapes) -> None:
    patches = hooks.Patches(tapes)
    mutations.install(patches, tapes, "runs_on")
    stream = type("Stream", (), {})
    for patch in patches.of("worker.engines.echo"):
        patch(SimpleNamespace(Stream=stream))
    stream().abort()
    stream().abort()
    assert [record["name"] for record in records(tmp_path, "witness")] == ["runs_on"]


# --- what is seen ---------------------------------------------------------------------------------------------------


def test_an_append_is_told_with_the_attempt_that_its_lease_was_for(tmp_path: Path, tapes: Tapes) -> None:
    flushes = [Flush(7, 3, 2, 0, Tally(5), b""), Flush(8, 0, 1, 4, Tally(6), b"")]
    other = SimpleNamespace(**(vars(LEASE) | {"session": "s2"}))
    flying = [SimpleNamespace(lease=LEASE), SimpleNamespace(lease=other)]
    flusher = SimpleNamespace(_flying=flying, _flushes=flushes)
    witness = worker.FlusherWitness(tapes.of("worker"))
    witness.unknown(flusher)
    witness.answered(flusher, [Refusal(1, "fenced")])
    told = records(tmp_path, "worker")
    assert [(one["session"], one["pieces"], one["answer"]) for one in told] == [
        ("s1", 5, "unknown"),
        ("s2", 6, "unknown"),
        ("s1", 5, "ok"),
        ("s2", 6, "fenced"),
    ]
    names = {"session": "s1", "id": "m1", "generation": 100, "attempt": 1, "nonce": "0000abcd"}
    assert told[2] == names | {
        key: told[2][key] for key in ("t", "what", "first", "count", "flags", "pieces", "answer")
    }


def test_what_is_written_is_seen_on_either_way(tmp_path: Path, tapes: Tapes) -> None:
    class Watched(Outbox):
        __slots__ = ()

    patches = hooks.Patches(tapes)
    gateway.install(patches, tapes)
    for patch in patches.of("gateway.outbox"):
        patch(SimpleNamespace(Outbox=Watched))
    outbox = Watched(JsonDialect(), FakeWriter(), lambda _: None)
    outbox.live = True
    first, second = (Item("s1", 7, 1, "0000abcd", "m1", n, 1, 0, encode_events([Delta("a")]), n) for n in range(2))
    assert outbox.offer(first)
    assert not outbox.follow(first)
    assert outbox.follow(second)
    assert not outbox.follow(second)
    outbox.flush(0.0)
    assert [(one["connection"], one["index"], one["first"]) for one in records(tmp_path, "gateway")] == [
        (1, 0, 0),
        (1, 1, 1),
    ]


# --- crashes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that would have been sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.mark.parametrize(
    ("text", "wanted"), [("claimed", ("claimed", 1)), ("terminal_stored:3", ("terminal_stored", 3))]
)
def test_a_crash_point_and_its_occasion(text: str, wanted: tuple[str, int]) -> None:
    assert crash.parse(text) == wanted
    assert crash.parse(text.replace(":", " ") + "\n") == wanted


def test_a_process_dies_at_its_nth_occasion(tmp_path: Path, tapes: Tapes, deaths: list[tuple[int, int]]) -> None:
    crasher = crash.Crasher(tapes, ("claimed", 2))
    crasher.occasion("before_first", LEASE)
    crasher.occasion("claimed", LEASE)
    assert deaths == []
    crasher.occasion("claimed", LEASE)
    assert deaths == [(os.getpid(), signal.SIGKILL)]
    assert records(tmp_path, "worker")[0]["point"] == "claimed"
    assert records(tmp_path, "worker")[0]["session"] == "s1"


def test_one_process_dies_for_a_file(tmp_path: Path, tapes: Tapes, deaths: list[tuple[int, int]]) -> None:
    first, second = (crash.Crasher(tapes, None) for _ in range(2))
    first.occasion("claimed", LEASE)
    (tmp_path / "crash").write_text("before_first 1")
    first.occasion("claimed", LEASE)
    assert deaths == []
    first.occasion("before_first", LEASE)
    second.occasion("before_first", LEASE)
    assert len(deaths) == 1
    assert not (tmp_path / "crash").exists()
    assert (tmp_path / f"crash.{os.getpid()}").exists()


@pytest.mark.parametrize("text", ["", "nowhere 1", "claimed x"])
def test_a_file_that_says_nothing_kills_nobody(
    tmp_path: Path, tapes: Tapes, deaths: list[tuple[int, int]], text: str
) -> None:
    (tmp_path / "crash").write_text(text)
    crash.Crasher(tapes, None).occasion("claimed", LEASE)
    assert deaths == []
