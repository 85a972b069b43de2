import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.auth.watched import Watched
from tests.conftest import FakeClock


def parse(data: bytes) -> str:
    if data == b"damaged":
        raise ValueError("this is damaged")
    return data.decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"one")
    return tmp_path / "file"


@pytest.fixture
def watched(file: Path, clock: FakeClock) -> Watched[str]:
    watched = Watched(file, parse, "nothing", clock)
    watched.load()
    return watched


def replace(file: Path, data: bytes) -> None:
    file.with_suffix(".new").write_bytes(data)
    file.with_suffix(".new").replace(file)


def test_a_change_is_seen_within_a_second(watched: Watched[str], file: Path, clock: FakeClock) -> None:
    assert watched.get() == "one"
    replace(file, b"two")
    clock.advance(0.9)
    assert watched.get() == "one"
    clock.advance(0.1)
    assert watched.get() == "two"


def test_one_of_the_same_size_and_time_too(watched: Watched[str], file: Path, clock: FakeClock) -> None:
    found = file.stat()
    replace(file, b"two")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    clock.advance(1)
    assert watched.get() == "two"


def test_a_file_that_is_not_there_is_empty_until_it_comes(tmp_path: Path, clock: FakeClock) -> None:
    watched = Watched(tmp_path / "file", parse, "nothing", clock)
    watched.load()
    assert watched.get() == "nothing"
    (tmp_path / "file").write_bytes(b"one")
    clock.advance(1)
    assert watched.get() == "one"
    (tmp_path / "file").unlink()
    clock.advance(1)
    assert watched.get() == "nothing"


def test_a_damaged_file_counts_for_nothing_and_is_said_once(
    watched: Watched[str], file: Path, clock: FakeClock
) -> None:
    replace(file, b"damaged")
    with capture_logs() as logs:
        for _ in range(3):
            clock.advance(1)
            assert watched.get() == "nothing"
    assert [line["log_level"] for line in logs] == ["error"]
    replace(file, b"two")
    clock.advance(1)
    assert watched.get() == "two"


def test_a_file_that_cannot_be_opened_for_now_goes_on_to_count(
    watched: Watched[str], file: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(24, "Too many open files")

    replace(file, b"two")
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr("builtins.open", full)
        clock.advance(1)
        assert watched.get() == "one"
    assert logs[0]["why"] == "Too many open files"
    clock.advance(1)
    assert watched.get() == "two"


def test_a_file_that_is_not_touched_is_not_read_again(
    watched: Watched[str], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.open", None)
    clock.advance(5)
    assert watched.get() == "one"


def test_at_the_start_damage_is_an_error(file: Path, clock: FakeClock) -> None:
    file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="file: this is damaged"):
        Watched(file, parse, "nothing", clock).load()
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        Watched(file.parent, parse, "nothing", clock).load()
