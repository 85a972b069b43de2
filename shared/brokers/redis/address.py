"""What a Redis URL names. Whatever is said of it to anybody leaves the password out."""

import ssl
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FORM = "redis://user:password@host:6379/0, or rediss:// for TLS"
TLS_FILES = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}  # as redis-py names them in URLs
Role = Literal["server", "sentinel", "master that the sentinels name, the server"]


class Address(NamedTuple):
    """A server and who we are to it. `tls`: None where the connection is plain."""

    host: str
    port: int
    database: int
    user: str
    password: str
    tls: ssl.SSLContext | None
    role: Role = "server"

    def __repr__(self) -> str:
        return self.shown

    @property
    def shown(self) -> str:
        """For people: without the user and the password."""
        return f"{'redis' if self.tls is None else 'rediss'}://{self.end}/{self.database}"

    @property
    def end(self) -> str:
        """Host and port."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def said(self) -> str:
        """The same, as a sentence begins with it."""
        return f"the Redis {self.role} at {self.end if self.role == 'sentinel' else self.shown}"

    @property
    def found(self) -> bool:
        """Whether sentinels have named it, and may name another."""
        return self.role not in ("server", "sentinel")

    async def find(self) -> "Address":
        """See Place."""
        return self

    def at(self, host: str, port: int) -> "Address":
        """Another server of the same cluster."""
        return self._replace(host=host or self.host, port=port)


class Place(Protocol):
    """Where the server is to be looked for, each time that we link."""

    async def find(self) -> Address:
        """Where it is now. Raises trouble.Trouble."""
        ...


def parse(url: str) -> Address:
    """Raises ValueError, with a sentence for the operator that does not show the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        raise ValueError(f"LLM_CHAT_BROKER_URL is no Redis URL: it has the form {FORM}") from None
    if parts.scheme not in ("redis", "rediss") or not host or parts.fragment:
        raise ValueError(f"LLM_CHAT_BROKER_URL is no Redis URL: it has the form {FORM}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    number = database(parts.path.strip("/"))
    return Address(host, port, number, user, password, tls(parts.scheme == "rediss", options(parts)))


def database(text: str) -> int:
    """Its number; none given is the first. Raises ValueError."""
    if text and not text.isdecimal():
        raise ValueError("LLM_CHAT_BROKER_URL names no database: the part behind the host is a number, as in /0")
    return int(text or 0)


def options(parts: SplitResult, *more: str) -> dict[str, str]:
    """What stands behind the question mark; `more` is known besides the files for TLS. Raises ValueError."""
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    files = set(TLS_FILES.values())
    if found.keys() - files - set(more) or (found.keys() & files and not parts.scheme.startswith("rediss")):
        known = ", ".join(TLS_FILES.values())
        raise ValueError(f"LLM_CHAT_BROKER_URL has an option that is not known: {known} are, with rediss:// only")
    return found


def tls(wanted: bool, options: Mapping[str, str]) -> ssl.SSLContext | None:
    """None where it is not wanted. Raises ValueError."""
    if not wanted:
        return None
    try:
        context = ssl.create_default_context(cafile=options.get(TLS_FILES["ca"]))
        if TLS_FILES["cert"] in options:
            context.load_cert_chain(options[TLS_FILES["cert"]], options.get(TLS_FILES["key"]))
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"LLM_CHAT_BROKER_URL names a certificate that cannot be read ({error})") from None
    return context
