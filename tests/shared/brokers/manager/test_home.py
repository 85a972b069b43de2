import os
import stat
from pathlib import Path

import pytest

from shared.brokers.manager.home import LONGEST_SOCKET_PATH, Home


def test_a_url_names_a_directory(tmp_path: Path) -> None:
    assert Home.of_url(f"manager://{tmp_path}").directory == tmp_path
    assert Home.of_url("manager:///with%20space").directory == Path("/with space")


def test_without_a_directory_it_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Home.of_url("manager:").directory == Path("/home/somebody/.llm-chat")
    assert Home.of_url("manager:///").directory == Path("/home/somebody/.llm-chat")


@pytest.mark.parametrize("url", ["manager://host/dir", "manager:///dir?x=1", "manager:///dir#x"])
def test_what_is_no_directory_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="names a directory"):
        Home.of_url(url)


def test_a_socket_path_always_fits(tmp_path: Path) -> None:
    long = Home(tmp_path / ("d" * 150))
    other = Home(tmp_path / ("e" * 150))
    assert Home(Path("/run/x")).socket_path == Path("/run/x/broker.sock")
    assert len(os.fsencode(long.socket_path)) <= LONGEST_SOCKET_PATH
    assert long.socket_path != other.socket_path


def test_all_that_is_made_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "some" / "dir")
    home.prepare()
    key = home.key()
    assert stat.S_IMODE(home.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.key_path.stat().st_mode) == 0o600
    assert len(key) >= 32
    assert home.key() == key
    assert Home(tmp_path / "other").directory != home.directory


def test_an_open_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be made"):
        Home(tmp_path / "file" / "dir").prepare()


def test_only_one_holds_the_lock(tmp_path: Path) -> None:
    home = Home(tmp_path)
    lock = home.lock()
    assert lock is not None
    assert Home(tmp_path).lock() is None
    os.close(lock)
    again = home.lock()
    assert again is not None
    os.close(again)
