"""Why a server does not serve us, as one sentence for the operator that says what to do."""

import re
import ssl

from shared.brokers.redis.address import Address

OLDEST = (6, 2)
PERMISSIONS = "~{llm-chat}:* &{llm-chat}:* +@read +@write +@scripting +@pubsub +@connection +info +time"
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_INNER = re.compile(r"\b(READONLY|OOM|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN)\b")


class Trouble(Exception):
    """The sentence. `lasting`: waiting will not mend it."""

    def __init__(self, sentence: str, *, lasting: bool = False) -> None:
        super().__init__(sentence)
        self.lasting = lasting


class Moved(Exception):
    """In a cluster another server has our keys: host (empty: the same one) and port."""

    def __init__(self, text: str) -> None:
        super().__init__("the keys are on another node of the Redis cluster now")
        host, _, port = text.split()[2].rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)


def kind_of(text: str) -> str:
    """The first word of an error, or that of the one which stopped a script."""
    inner = _INNER.search(text)
    return inner[1] if inner else text.split(" ", 1)[0]


def of_error(address: Address, text: str) -> Exception:
    """What an error that the server answered means."""
    kind = kind_of(text)
    if kind == "MOVED":
        return Moved(text)
    at = address.said
    if kind in ("WRONGPASS", "NOAUTH") or ("AUTH" in text and "password" in text):
        which = "sentinel_password" if address.role == "sentinel" else "the one"
        return Trouble(f"{at} refuses the password: correct {which} in LLM_CHAT_BROKER_URL", lasting=True)
    if kind == "NOPERM" or "ACL failure" in text or "can't run this command" in text:
        return Trouble(f"{at} does not permit its user what is needed: give it {PERMISSIONS}", lasting=True)
    if "DB index" in text or "SELECT is not allowed" in text:
        return Trouble(f"{at} has no such database: correct the number in LLM_CHAT_BROKER_URL", lasting=True)
    if kind == "OOM":
        return Trouble(f"{at} is full: raise its maxmemory, with maxmemory-policy noeviction")
    if kind == "READONLY":
        return of_replica(address)
    if kind in ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "ASK"):
        return Trouble(f"{at} is not ready yet ({kind}): wait, or look at its log")
    if kind == "MISCONF":
        return Trouble(f"{at} cannot write its file and takes no writes: look at its disk and its log")
    return Trouble(f"{at} answers with an error that is not known here ({text[:100]})")


def of_exception(address: Address, error: BaseException) -> Trouble:
    """What a connection that could not be made, or did not last, means."""
    at = address.said
    if isinstance(error, ConnectionRefusedError):
        otherwise = "wait until they name another" if address.found else "correct LLM_CHAT_BROKER_URL"
        return Trouble(f"{at} refuses the connection: start it, or {otherwise}")
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OTHER_NAME:
        return Trouble(f"{at} shows a certificate for another name: name it as its certificate does", lasting=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Trouble(
            f"{at} shows a certificate that is not trusted: name its authority by ssl_ca_certs", lasting=True
        )
    if isinstance(error, ssl.SSLError):
        return Trouble(f"{at} speaks no TLS: use redis:// or set its tls-port", lasting=True)
    if isinstance(error, TimeoutError):
        or_plain = "" if address.tls is None else ", or speaks no TLS there (redis:// or another port)"
        return Trouble(f"{at} does not answer: look whether it is overloaded or behind a firewall{or_plain}")
    if isinstance(error, ConnectionError | EOFError):
        return Trouble(
            f"{at} has closed the connection: look whether it runs, whether it wants TLS (rediss://), and at its log"
        )
    return Trouble(f"{at} cannot be reached: correct LLM_CHAT_BROKER_URL, or the network ({_plain(error)})")


def of_replica(address: Address) -> Trouble:
    """It takes no writes."""
    named, look = "name its master in LLM_CHAT_BROKER_URL", "wait until they name another, or look at their logs"
    return Trouble(f"{address.said} is a replica: {look if address.found else named}")


def of_sentinels(ends: str, first: Trouble) -> Trouble:
    """None of them says where the master is; this is what came of the first."""
    return Trouble(f"none of the Redis sentinels at {ends} says where the master is: {first}", lasting=first.lasting)


def of_version(address: Address, version: str) -> Trouble:
    """It is too old."""
    oldest = ".".join(map(str, OLDEST))
    return Trouble(f"{address.said} is {version}: {oldest} or newer is needed", lasting=True)


def too_old(version: str) -> bool:
    """Versions are compared by their first two numbers."""
    return tuple(int(part) if part.isdecimal() else 0 for part in version.split(".")[:2]) < OLDEST


def _plain(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)[:100]
