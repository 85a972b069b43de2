"""Options are refused in one line, with exit status 2."""

import socket
from pathlib import Path

import pytest

from tests.chaos.houses import HOUSES
from tests.chaos.options import parse

SCENARIOS = ("reconnect", "triple_kill")


def test_the_defaults_are_those_of_the_issue() -> None:
    options = parse([], SCENARIOS)
    assert (options.seconds, options.seed, options.broker) == (60.0, 1, "manager")
    assert (options.scenario, options.size, options.keep, options.port) == (None, None, None, 0)


def test_options_arrive() -> None:
    line = "--seconds 7.5 --seed 9 --broker manager --clients 20 --port 20000 --scenario reconnect --size 3"
    options = parse(line.split(), SCENARIOS)
    assert options == (7.5, 9, "manager", 20, 20000, None, "reconnect", 3)


def test_every_broker_has_a_house(tmp_path: Path) -> None:
    for name, scheme in (("manager", "manager"), ("redis", "redis")):
        assert parse(["--broker", name], SCENARIOS).broker == name
        assert HOUSES[name](tmp_path).url.startswith(f"{scheme}://")
    assert len(HOUSES) == 2


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--seconds 4", "--seconds"),
        ("--seconds 86401", "--seconds"),
        ("--seconds nan", "--seconds"),
        ("--seconds soon", "--seconds"),
        ("--seed -1", "--seed"),
        ("--seed 1.5", "--seed"),
        ("--clients 9", "--clients"),
        ("--port 65535", "--port"),  # the second gateway's would be none
        ("--broker pigeon", "--broker"),
        ("--scenario picnic", "--scenario"),
        ("--scenario reconnect --size 0", "--size"),
        ("--size 5", "--size"),
        ("--speed 3", "--speed"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(line: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(line.split(), SCENARIOS)
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("chaos: ")
    assert error.count("\n") == 1
    assert named in error


def listener() -> socket.socket:
    """On a port below which one is free."""
    while True:
        below, other = socket.socket(), socket.socket()
        with below:
            below.bind(("127.0.0.1", 0))
            try:
                other.bind(("127.0.0.1", below.getsockname()[1] + 1))
            except OSError:
                other.close()
                continue
        other.listen()
        return other


@pytest.mark.parametrize("place", [0, 1])
def test_a_taken_port_is_refused(place: int, capsys: pytest.CaptureFixture[str]) -> None:
    with listener() as other:
        taken = other.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            parse(["--port", str(taken - place)], SCENARIOS)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"chaos: port {taken} is taken\n"


def test_records_are_never_mixed_with_those_of_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "harness-run.jsonl").touch()
    with pytest.raises(SystemExit) as ended:
        parse(["--keep", str(tmp_path)], SCENARIOS)
    assert ended.value.code == 2
    assert "another run" in capsys.readouterr().err


def test_records_need_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        parse(["--keep", str(tmp_path / "file")], SCENARIOS)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_directory_is_made(tmp_path: Path) -> None:
    assert parse(["--keep", str(tmp_path / "a" / "b")], SCENARIOS).keep == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
