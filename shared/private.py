"""Files that only their owner may read."""

import contextlib
import os
import secrets
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An `opener` for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def lasting_secret(path: Path) -> bytes:
    """The 64 hexadecimal digits in this file; made at the first call of all processes that share it. Raises OSError."""
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        with open(draft, "wb", opener=private) as file:
            file.write(secrets.token_hex(32).encode())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never another one than somebody has read
        draft.unlink()
    return path.read_bytes()
