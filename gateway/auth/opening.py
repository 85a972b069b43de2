"""From the settings to the checks, and whether there are to be any."""

import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog

from gateway.auth.gate import Bearers, Checks
from gateway.auth.keyfile import parse_ring
from gateway.auth.keys import KeyRing
from gateway.auth.tickets import Tickets
from gateway.auth.watched import Watched
from shared.clock import Clock
from shared.private import lasting_secret
from shared.settings import AuthSettings, Settings

SECRET = "ticket-secret"  # beside the keys
SECRET_LENGTH = 64  # bytes

log = structlog.get_logger("auth")


def keys_path(settings: AuthSettings) -> Path:
    """The file of the API keys."""
    return Path.home() / ".llm-chat" / "keys.json" if settings.keys is None else Path(settings.keys)


def decided(settings: Settings, sockets: Iterable[socket.socket]) -> Settings:
    """The same with `auth.mode` as what it comes to: `required`, `local` or `none`. Raises ValueError, with a sentence
    for the operator, where it cannot be local."""
    mode = settings.auth.mode
    if mode == "auto":
        mode = "required" if _has_keys(settings.auth) else "local"
    addresses = [str(one.getsockname()[0]) for one in sockets]
    foreign = [address for address in addresses if not ip_address(address.partition("%")[0]).is_loopback]
    if mode == "local" and foreign:
        raise ValueError(
            f"{foreign[0]} may be reached from other machines, and there are no keys: make one with `python -m "
            "gateway.keys create --owner NAME`, or let everybody in with LLM_CHAT_AUTH_MODE=none"
        )
    return settings.model_copy(update={"auth": settings.auth.model_copy(update={"mode": mode})})


def open_checks(settings: AuthSettings, clock: Clock) -> Checks | None:
    """What callers are checked by; None where they are not. Raises ValueError, with a sentence, where a file cannot be
    used or something is not installed."""
    if settings.mode in ("none", "local"):
        return None
    path = keys_path(settings)
    ring = Watched(path, parse_ring, KeyRing(), clock)
    ring.load()
    tokens = _open_tokens(settings, clock)
    if tokens is None and not len(ring.get()):
        log.warning("there is no key that is good: nobody is let in until one is made", file=str(path))
    return Checks(ring.get, tokens, Tickets(_secret(path.parent)))


def _has_keys(settings: AuthSettings) -> bool:
    """Also where it cannot be known: `open_checks` says what is wrong then, and nobody comes in for that."""
    if settings.jwt_key or settings.jwt_jwks:
        return True
    try:
        keys_path(settings).stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _secret(directory: Path) -> bytes:
    path = directory / SECRET
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = lasting_secret(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be made or read: {error.strerror}") from None
    if len(secret) != SECRET_LENGTH:
        raise ValueError(f"{path} is damaged; remove it, and a new one is made")
    return secret


def _open_tokens(settings: AuthSettings, clock: Clock) -> Bearers | None:
    if not settings.jwt_key and not settings.jwt_jwks:
        return None
    try:
        from gateway.auth import jwt_keys
        from gateway.auth.jwt_check import TokenCheck
    except ImportError as error:
        raise ValueError(f"JSON Web Tokens need {error.name}: pip install 'llm-chat[jwt]'") from None
    files = [
        *_opened("LLM_CHAT_AUTH_JWT_KEY", settings.jwt_key, jwt_keys.parse_key, clock),
        *_opened("LLM_CHAT_AUTH_JWT_JWKS", settings.jwt_jwks, jwt_keys.parse_set, clock),
    ]
    return TokenCheck(lambda: [key for file in files for key in file.get()], settings.jwt_issuer, settings.jwt_audience)


def _opened(
    variable: str, name: str | None, parse: Callable[[bytes], Sequence[Any]], clock: Clock
) -> list[Watched[Sequence[Any]]]:
    """The file is not named in what is said of it: somebody may have put the secret itself there."""
    if name is None:
        return []
    file: Watched[Sequence[Any]] = Watched(Path(name), parse, (), clock)
    if not Path(name).is_file():
        raise ValueError(f"{variable}: there is no such file")
    try:
        file.load()
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None
    return [file]
