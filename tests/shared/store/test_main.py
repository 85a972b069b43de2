import subprocess
import sys
from pathlib import Path

import pytest

from shared.store.__main__ import main


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite+aiosqlite:///{tmp_path}/chat.db"
    monkeypatch.setenv("LLM_CHAT_DATABASE_URL", url)
    return url


def test_upgrade_makes_the_tables(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 1
    assert main(["upgrade"]) == 0
    assert main(["upgrade"]) == 0
    assert main(["check"]) == 0

    said = capsys.readouterr().out.splitlines()
    assert "run python -m shared.store upgrade" in said[0]
    assert said[1:] == [f"{url} is up to date"] * 2 + ["the database is up to date"]


def test_where_hides_the_password(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_CHAT_DATABASE_URL", "postgresql://me:secret@host/db")

    assert main(["where"]) == 0
    assert capsys.readouterr().out == "postgresql+asyncpg://me:***@host/db\n"


@pytest.mark.parametrize(("text", "sentence"), [("none", "nothing is stored"), ("mysql://host", "no store is known")])
def test_what_cannot_be_is_said(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    monkeypatch.setenv("LLM_CHAT_DATABASE_URL", text)

    assert main(["upgrade"]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_may_begin_at_the_same_time(url: str) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "shared.store", "upgrade"]
    started = [subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) for _ in range(3)]

    assert [process.wait(15) for process in started] == [0, 0, 0]
