import re
import time
from pathlib import Path

import pytest

from gateway.auth.keyfile import KeyFile
from gateway.auth.keys import KeyRing
from gateway.keys import main
from shared.errors import NotAuthenticated

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings say that the keys are; no `.env` but the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLM_CHAT_AUTH_KEYS", str(tmp_path / "own" / "keys.json"))
    return tmp_path / "own" / "keys.json"


def create(capsys: Capture, *arguments: str) -> tuple[str, str]:
    """The key and its id."""
    assert main(["create", "--owner", "ann", *arguments]) == 0
    said = capsys.readouterr()
    found = re.search(r"id is (\w+);", said.err)
    assert found is not None
    assert said.out.strip() not in said.err
    return said.out.strip(), found[1]


def test_a_key_is_made_listed_and_revoked(path: Path, capsys: Capture) -> None:
    key, id = create(capsys)
    assert KeyRing(KeyFile(path).records()).caller(key, time.time()).owner == "ann"
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{id} +good +\S+Z +never +ann", listed[1])
    assert key not in "".join(listed)

    assert main(["revoke", id]) == 0
    assert main(["list"]) == 0
    assert re.search(rf"^{id} +revoked ", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(NotAuthenticated):
        KeyRing(KeyFile(path).records()).caller(key, time.time())


@pytest.mark.parametrize(
    ("said", "seconds"), [("10s", 10), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000), ("0s", 0)]
)
def test_a_key_may_expire_after_a_span(path: Path, capsys: Capture, said: str, seconds: int) -> None:
    create(capsys, "--expires", said)
    (record,) = KeyFile(path).records()
    assert record.expires_at == record.created_at + seconds
    main(["list"])
    assert ("expired" if seconds == 0 else "good") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2099-01-31", 4_073_500_800),
        ("2099-01-31T12:00:00Z", 4_073_544_000),
        ("2099-01-31T12:00:00+02:00", 4_073_536_800),
    ],
)
def test_or_at_a_moment(path: Path, capsys: Capture, said: str, moment: float) -> None:
    create(capsys, "--expires", said)
    assert KeyFile(path).records()[0].expires_at == moment


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["destroy"],
        ["create"],
        ["create", "--owner", ""],
        ["create", "--owner", "a\nb"],
        ["create", "--owner", "ann", "--expires", "soon"],
        ["create", "--owner", "ann", "--expires", "2001-01-01"],
        ["create", "--owner", "ann", "--expires", "-5d"],
        ["revoke"],
    ],
)
def test_a_wrong_command_is_refused_and_makes_nothing(path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert not path.exists()


def test_what_cannot_be_done_is_said_in_a_line(path: Path, capsys: Capture) -> None:
    assert main(["revoke", "0" * 12]) == 1
    assert "no key with this id" in capsys.readouterr().err
    path.write_text("damaged")
    for command in (["list"], ["create", "--owner", "ann"]):
        assert main(command) == 1
        assert capsys.readouterr().err.endswith("this is not a file of API keys\n")
    path.unlink()
    path.mkdir()
    assert main(["list"]) == 1
    assert "Is a directory" in capsys.readouterr().err


def test_the_first_key_changes_who_is_let_in_and_that_is_said(path: Path, capsys: Capture) -> None:
    for first in (True, False):
        main(["create", "--owner", "ann"])
        assert ("restart" in capsys.readouterr().err) is first


def test_another_file_may_be_named(path: Path, tmp_path: Path, capsys: Capture) -> None:
    main(["--file", str(tmp_path / "other.json"), "create", "--owner", "ann"])
    assert len(KeyFile(tmp_path / "other.json").records()) == 1
    assert not path.exists()
