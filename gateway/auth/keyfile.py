"""The file of the API keys. Readers see the old one or the new one, never a part; writers wait for each other."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from gateway.auth.keys import ApiKey, KeyRing
from gateway.auth.owner import is_owner
from shared.private import private

VERSION = 1


class _Contents(msgspec.Struct, frozen=True):
    version: int
    keys: list[ApiKey]


_decode = msgspec.json.Decoder(_Contents).decode


def parse(data: bytes) -> list[ApiKey]:
    """The keys in such a file. Raises ValueError."""
    try:
        contents = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("this is not a file of API keys") from None
    if contents.version != VERSION:
        raise ValueError(f"this file of API keys has version {contents.version}, which is not known here")
    if not all(is_owner(key.owner) and len(key.sha256) == 64 and key.sha256.isascii() for key in contents.keys):
        raise ValueError("this file of API keys has a record that cannot be one")
    return contents.keys


def parse_ring(data: bytes) -> KeyRing:
    """The same, for those who only check. Raises ValueError."""
    return KeyRing(parse(data))


class KeyFile:
    """Made, with its directory, by the first change. Methods raise OSError and ValueError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def records(self) -> list[ApiKey]:
        """All of them, the revoked and the expired too."""
        try:
            return parse(self._path.read_bytes())
        except FileNotFoundError:
            return []

    def add(self, key: ApiKey) -> None:
        """Add one."""
        with self._locked():
            self._write([*self.records(), key])

    def revoke(self, id: str, now: float) -> bool:
        """From now on the key is not good any more. False: there is no such key."""
        with self._locked():
            keys = self.records()
            revoked = [
                msgspec.structs.replace(key, revoked_at=now) if key.id == id and key.revoked_at is None else key
                for key in keys
            ]
            if revoked != keys:
                self._write(revoked)
        return any(key.id == id for key in keys)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock is a file of its own: the one that it guards is replaced."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(f"{self._path}.lock", "ab", opener=private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, keys: Sequence[ApiKey]) -> None:
        data = msgspec.json.format(msgspec.json.encode(_Contents(VERSION, list(keys)))) + b"\n"
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            with open(draft, "xb", opener=private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
        _sync_directory(self._path.parent)


def _sync_directory(directory: Path) -> None:
    """What was renamed is so after a loss of power, too."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
