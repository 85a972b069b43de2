"""A PostgreSQL of the tests' own: a private cluster in a temporary directory, on a Unix socket only."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import asyncpg

from shared.store import database
from shared.store.opening import make
from tests.conftest import require

NEEDED = "needs PostgreSQL's server: apt-get install postgresql"
NOBODY = "nobody"  # who runs it where we are root, which it refuses


def programs() -> Path | None:
    """The directory of initdb and pg_ctl, which Debian keeps off the PATH; None where they are not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(debian[-1]) if debian else None)
    return Path(found).resolve().parent if found else None


class Cluster:
    """Made at once, served between `start` and `kill`. Nothing is synced to the disk: nobody wants it back."""

    def __init__(self) -> None:
        found = programs()
        require(found, NEEDED)
        assert found is not None
        self._bin = found
        self._user = pwd.getpwnam(NOBODY) if os.getuid() == 0 else None
        self._serves = self._made = False
        self.directory = Path(tempfile.mkdtemp(prefix="llm-chat-pg-", dir="/tmp"))  # short: it holds a socket
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "-D", self._data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    @property
    def url(self) -> str:
        """Of its database."""
        return f"postgresql+asyncpg://tester:secret@/postgres?host={self.directory}"

    def start(self) -> None:
        """Serve, as no child of ours."""
        if not self._serves:
            options = f"-k {self.directory} -c listen_addresses= -F"
            self._run("pg_ctl", "-D", self._data, "-w", "-l", f"{self.directory}/log", "-o", options, "start")
            self._serves = True

    def kill(self) -> None:
        """Its connections break; what it confirmed stays."""
        if self._serves:
            self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")
            self._serves = False

    async def fresh(self) -> str:
        """The URL of the database, which has its tables and nothing in them."""
        self.start()
        if not self._made:
            await make(database.parse(self.url))
            self._made = True
        await self.execute("TRUNCATE sessions, tombstones, turns RESTART IDENTITY")
        return self.url

    async def execute(self, sql: str) -> None:
        """Something that the store cannot do."""
        connection = await asyncpg.connect(host=str(self.directory), user="tester", database="postgres")
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def remove(self) -> None:
        """Leave nothing."""
        self.kill()
        shutil.rmtree(self.directory)

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _run(self, program: str, *arguments: str) -> None:
        user = self._user
        ran = subprocess.run(
            [str(self._bin / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        assert ran.returncode == 0, f"{program} {arguments} failed"
