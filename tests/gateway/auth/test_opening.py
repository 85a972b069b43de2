import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.auth.keyfile import KeyFile
from gateway.auth.keys import make_key
from gateway.auth.opening import decided, keys_path, open_checks
from gateway.caller import Caller
from shared.errors import NotAuthenticated
from shared.settings import AuthSettings, Settings
from tests.conftest import FakeClock
from tests.gateway.auth.tokens import NOW, SECRET, entry, key_set, token

RECORD, KEY = make_key("ann", 0.0)


class Bound:
    """A socket, as far as it matters here."""

    def __init__(self, address: str) -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        return self._address, 8080


def auth(directory: Path, **values: Any) -> AuthSettings:
    return AuthSettings(**{"keys": str(directory / "keys.json"), **values})


def mode(settings: AuthSettings, *addresses: str) -> str:
    sockets: list[Any] = [Bound(address) for address in addresses]
    return decided(Settings(auth=settings), sockets).auth.mode


@pytest.fixture
def with_key(tmp_path: Path) -> Path:
    KeyFile(tmp_path / "keys.json").add(RECORD)
    return tmp_path


# --- whether --------------------------------------------------------------------------------------------------------

LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1"]
FOREIGN = ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "203.0.113.7", "2001:db8::1", "fe80::1%eth0"]


def test_on_this_machine_nobody_is_asked(tmp_path: Path) -> None:
    assert mode(auth(tmp_path), *LOOPBACK) == "local"


@pytest.mark.parametrize("address", FOREIGN)
def test_anywhere_else_it_is_refused_without_keys(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match=r"python -m gateway\.keys create") as caught:
        mode(auth(tmp_path), "127.0.0.1", address)
    assert address in str(caught.value)
    assert "LLM_CHAT_AUTH_MODE=none" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_where_there_are_keys_they_are_asked_for(with_key: Path, tmp_path: Path, address: str) -> None:
    assert mode(auth(with_key), address) == "required"
    assert mode(auth(tmp_path / "no", jwt_key="x"), address) == "required"
    assert mode(auth(tmp_path / "no", jwt_jwks="x"), address) == "required"


def test_local_is_for_this_machine_whether_there_are_keys_or_not(with_key: Path) -> None:
    assert mode(auth(with_key, mode="local"), *LOOPBACK) == "local"
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        mode(auth(with_key, mode="local"), "0.0.0.0")


@pytest.mark.parametrize("said", ["none", "required"])
def test_what_is_said_is_done(tmp_path: Path, with_key: Path, said: str) -> None:
    assert mode(auth(tmp_path / "no", mode=said), "0.0.0.0") == said
    assert mode(auth(with_key, mode=said), "127.0.0.1") == said


def test_a_file_whose_keys_are_all_revoked_opens_nothing(with_key: Path) -> None:
    KeyFile(with_key / "keys.json").revoke(RECORD.id, 1.0)
    assert mode(auth(with_key), "127.0.0.1") == "required"


def test_where_it_cannot_be_known_nobody_is_let_in(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path, why in (("loop", "symbolic links"), ("loop/keys.json", "symbolic links")):
        settings = auth(tmp_path, keys=str(tmp_path / path))
        assert mode(settings, "127.0.0.1") == "required"
        with pytest.raises(ValueError, match=why):
            open_checks(settings, clock)


def test_real_sockets_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("0.0.0.0", 0)) as other:
        assert decided(Settings(auth=auth(tmp_path)), [one]).auth.mode == "local"
        with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
            decided(Settings(auth=auth(tmp_path)), [one, other])


def test_the_default_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert keys_path(AuthSettings()) == Path("/home/somebody/.llm-chat/keys.json")


# --- with what ------------------------------------------------------------------------------------------------------


def test_without_a_check_nothing_is_opened(tmp_path: Path, clock: FakeClock) -> None:
    for said in ("none", "local"):
        assert open_checks(auth(tmp_path / "no", mode=said), clock) is None
    assert list(tmp_path.iterdir()) == []


def test_keys_are_those_of_the_file_as_it_is_now(with_key: Path, clock: FakeClock) -> None:
    checks = open_checks(auth(with_key, mode="required"), clock)
    assert checks is not None
    assert checks.bearer(KEY, NOW) == Caller("ann", None, RECORD.id)
    KeyFile(with_key / "keys.json").revoke(RECORD.id, 1.0)
    clock.advance(1)
    with pytest.raises(NotAuthenticated):
        checks.bearer(KEY, NOW)
    with pytest.raises(NotAuthenticated):
        checks.bearer(token(), NOW)


def test_that_there_is_no_key_is_said(tmp_path: Path, clock: FakeClock) -> None:
    with capture_logs() as logs:
        open_checks(auth(tmp_path, mode="required"), clock)
    assert [line["log_level"] for line in logs] == ["warning"]


def test_the_secret_of_the_tickets_is_one_for_all_and_private(with_key: Path, clock: FakeClock) -> None:
    one, other = (open_checks(auth(with_key, mode="required"), clock) for _ in range(2))
    assert one is not None
    assert other is not None
    made = one.tickets.make(Caller("ann"), "", 0.0)
    assert other.tickets.read(made, 0.0).owner == "ann"
    found = (with_key / "ticket-secret").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o600, 64)


def test_tokens_by_file_and_by_set(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "set").write_bytes(key_set(entry("ES256", kid="e")))
    settings = auth(
        tmp_path, mode="required", jwt_key=str(tmp_path / "secret"), jwt_jwks=str(tmp_path / "set"), jwt_audience="chat"
    )
    checks = open_checks(settings, clock)
    assert checks is not None
    for algorithm in ("HS256", "ES256"):
        assert checks.bearer(token(algorithm, aud="chat"), NOW).owner == "ann"
        with pytest.raises(NotAuthenticated):
            checks.bearer(token(algorithm), NOW)
    (tmp_path / "set").write_bytes(key_set(entry("RS256", kid="r")))
    clock.advance(1)
    assert checks.bearer(token("RS256", aud="chat"), NOW).owner == "ann"
    with pytest.raises(NotAuthenticated):
        checks.bearer(token("ES256", aud="chat"), NOW)


@pytest.mark.parametrize("name", ["jwt_key", "jwt_jwks"])
def test_what_was_meant_to_be_a_file_is_not_shown(tmp_path: Path, clock: FakeClock, name: str) -> None:
    with pytest.raises(ValueError, match=f"LLM_CHAT_AUTH_{name.upper()}: there is no such file") as caught:
        open_checks(auth(tmp_path, mode="required", **{name: "hunter2" * 8}), clock)
    assert "hunter2" not in str(caught.value)


def test_damaged_files_are_said_to_be_so(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "short").write_bytes(b"short")
    for values, why in (
        ({"jwt_key": str(tmp_path / "short")}, "LLM_CHAT_AUTH_JWT_KEY: .*32 bytes"),
        ({"jwt_jwks": str(tmp_path / "short")}, "LLM_CHAT_AUTH_JWT_JWKS: .*Key Set"),
        ({"keys": str(tmp_path / "short")}, "short: this is not a file of API keys"),
        ({"keys": str(tmp_path / "short" / "keys.json")}, "Not a directory"),
    ):
        with pytest.raises(ValueError, match=why):
            open_checks(auth(tmp_path, mode="required", **values), clock)
    (tmp_path / "ticket-secret").write_bytes(b"")
    with pytest.raises(ValueError, match="ticket-secret is damaged"):
        open_checks(auth(tmp_path, mode="required"), clock)


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_what_is_not_installed_is_named(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(("gateway.auth.jwt_", missing + "."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delattr("gateway.auth.jwt_keys", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'llm-chat\[jwt\]'") as caught:
        open_checks(auth(tmp_path, mode="required", jwt_key="x"), clock)
    assert missing in str(caught.value)


@pytest.fixture(autouse=True)
def modules_as_they_were() -> Iterator[None]:
    import gateway.auth as package

    before = dict(vars(package))
    yield
    vars(package).update(before)
