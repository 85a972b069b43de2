"""What a Redis URL names. Whatever is said of it to anybody leaves the password out."""

import ssl
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FORM = "redis://user:password@host:6379/0, or rediss:// for TLS"
TLS_FILES = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}  # as redis-py names them in URLs


class Address(NamedTuple):
    """A server and who we are to it. `tls`: None where the connection is plain."""

    host: str
    port: int
    database: int
    user: str
    password: str
    tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return self.shown

    @property
    def shown(self) -> str:
        """For people: without the user and the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'redis' if self.tls is None else 'rediss'}://{host}:{self.port}/{self.database}"

    def at(self, host: str, port: int) -> "Address":
        """Another server of the same cluster."""
        return self._replace(host=host or self.host, port=port)


def parse(url: str) -> Address:
    """Raises ValueError, with a sentence for the operator that does not show the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 6379
    except ValueError:
        raise ValueError(f"LLM_CHAT_BROKER_URL is no Redis URL: it has the form {FORM}") from None
    if parts.scheme not in ("redis", "rediss") or not host or parts.fragment:
        raise ValueError(f"LLM_CHAT_BROKER_URL is no Redis URL: it has the form {FORM}")
    database = parts.path.strip("/") or "0"
    if not database.isdecimal():
        raise ValueError("LLM_CHAT_BROKER_URL names no database: the part behind the host is a number, as in /0")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(host, port, int(database), user, password, _tls(parts))


def _tls(parts: SplitResult) -> ssl.SSLContext | None:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = options.keys() - set(TLS_FILES.values())
    if unknown or (options and parts.scheme == "redis"):
        known = ", ".join(TLS_FILES.values())
        raise ValueError(f"LLM_CHAT_BROKER_URL has an option that is not known: {known} are, with rediss:// only")
    if parts.scheme == "redis":
        return None
    try:
        context = ssl.create_default_context(cafile=options.get(TLS_FILES["ca"]))
        if TLS_FILES["cert"] in options:
            context.load_cert_chain(options[TLS_FILES["cert"]], options.get(TLS_FILES["key"]))
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"LLM_CHAT_BROKER_URL names a certificate that cannot be read ({error})") from None
    return context
