"""The safety net must hold: a test that leaks fails, one that says what it keeps does not."""

from pathlib import Path

import pytest

from tests.conftest import FakeClock, require

HEAD = """
import asyncio, os, subprocess, threading
import pytest
kept = []
"""
LEAKS = {
    "tasks": "async def test_it(): kept.append(asyncio.create_task(asyncio.sleep(100)))",
    "threads": "def test_it(): threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "children": "def test_it(): kept.append(subprocess.Popen('read line', shell=True, stdin=subprocess.PIPE))",
    "files": "def test_it(): kept.append(os.open(os.devnull, os.O_RDONLY))",
}


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A test run of its own, under our conftest."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nasyncio_mode = auto\nmarkers = keeps\n")
    return pytester


def run(inner: pytest.Pytester, *tests: str) -> pytest.RunResult:
    files = {f"test_{number}": HEAD + text for number, text in enumerate(tests)}
    inner.makepyfile(**files)
    return inner.runpytest_subprocess("-p", "no:cacheprovider")


def test_every_kind_of_leak_fails_the_test_that_left_it(inner: pytest.Pytester) -> None:
    result = run(inner, *LEAKS.values())
    result.assert_outcomes(passed=4, errors=4)
    for kind in LEAKS:
        result.stdout.fnmatch_lines([f"*left behind*{kind}*"])


def test_a_test_may_say_what_it_keeps(inner: pytest.Pytester) -> None:
    kinds = {kind: repr(kind) if kind != "children" else "'children', 'files'" for kind in LEAKS}
    run(inner, *(f"@pytest.mark.keeps({kinds[kind]})\n{text}" for kind, text in LEAKS.items())).assert_outcomes(
        passed=4
    )


def test_what_ends_with_its_test_is_no_leak(inner: pytest.Pytester) -> None:
    tidy = """
async def test_it():
    task = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.to_thread(subprocess.run, ["true"], check=True)
    with open(os.devnull):
        pass
"""
    run(inner, tidy).assert_outcomes(passed=1)


def test_our_settings_do_not_reach_the_tests(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_CHAT_PORT", "1")
    run(inner, "def test_it(): assert 'LLM_CHAT_PORT' not in os.environ").assert_outcomes(passed=1)


def test_what_is_missing_skips_at_home_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    require(True, "never said")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="needs a moon"):
        require(False, "needs a moon")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a moon"):
        require(False, "needs a moon")


def test_time_passes_when_told(clock: FakeClock) -> None:
    now, wall = clock.now(), clock.wall_ms()
    clock.advance(1.5)
    assert (clock.now() - now, clock.wall_ms() - wall) == (1.5, 1500)
