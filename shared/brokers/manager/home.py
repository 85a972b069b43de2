"""Where a manager broker lives: a private directory with its key, its lock, its log and (where the path is short
enough) its socket."""

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.private import lasting_secret

LONGEST_SOCKET_PATH = 103  # bytes: what every system allows; Linux allows 107 (unix(7)), macOS and the BSDs 103


class Home:
    """A directory of mode 0700 that belongs to the user. Raises ValueError, with a sentence, where it cannot be
    that."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock_path = directory / "lock"
        self.key_path = directory / "key"
        self.log_path = directory / "broker.log"
        self.socket_path = self._socket_path()

    @staticmethod
    def of_url(url: str) -> "Home":
        """`manager:` is the default directory of this user, `manager:///some/dir` any other."""
        parts = urlsplit(url)
        if parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"a manager URL names a directory, as in manager:///some/dir; it was {url!r}")
        return Home(Path(unquote(parts.path)) if parts.path not in ("", "/") else Path.home() / ".llm-chat")

    def prepare(self) -> None:
        """Make the directories; whoever serves or starts the broker does this. Raises ValueError."""
        for directory in {self.directory, self.socket_path.parent}:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                found = directory.stat()
            except OSError as error:
                raise ValueError(f"the broker's directory {directory} cannot be made: {error.strerror}") from None
            if found.st_uid != os.getuid():
                raise ValueError(f"the broker's directory {directory} belongs to another user")
            if stat.S_IMODE(found.st_mode) & 0o077:
                directory.chmod(0o700)

    def key(self) -> bytes:
        """The secret that peers must know; made at the first start. Raises OSError."""
        return lasting_secret(self.key_path)

    def lock(self) -> int | None:
        """Become the only server of this home, for the life of the returned descriptor; None where there is one
        already."""
        descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def tidy(self) -> None:
        """Leave no socket behind, nor the directory that was made only for it."""
        self.socket_path.unlink(missing_ok=True)
        if self.socket_path.parent != self.directory:
            with contextlib.suppress(OSError):
                self.socket_path.parent.rmdir()

    def _socket_path(self) -> Path:
        path = self.directory / "broker.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"llm-chat-{os.getuid()}-{name}" / "broker.sock"
