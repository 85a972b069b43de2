"""`python -m gateway.keys`: make, list and revoke API keys. Gateways that run see it within seconds."""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.auth.keyfile import KeyFile
from gateway.auth.keys import ApiKey, make_key
from gateway.auth.opening import keys_path
from gateway.auth.owner import is_owner
from shared.settings import load

PROG = "gateway.keys"
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ROW = "{:<14}{:<10}{:<22}{:<22}{}"


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0, 1 where it could not be done, 2 where the command is wrong."""
    parser = _parser()
    given = parser.parse_args(argv)
    path = Path(given.file) if given.file else keys_path(load(PROG, []).auth)
    now = time.time()
    try:
        if given.command == "create":
            return _create(KeyFile(path), given.owner, now, _moment(given.expires, now))
        return _list(KeyFile(path), now) if given.command == "list" else _revoke(KeyFile(path), given.id, now)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    except OSError as error:
        return _failed(f"{path}: {error.strerror}")
    except ValueError as error:
        return _failed(f"{path}: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {PROG}", description="API keys of the gateway.")
    parser.add_argument("--file", help="the file of the keys [LLM_CHAT_AUTH_KEYS]")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and print it, this once")
    create.add_argument("--owner", required=True, type=_owner, help="whose sessions it opens")
    create.add_argument("--expires", help="after 30d, 12h, 15m or 10s, or at 2030-01-31 or 2030-01-31T12:00:00Z")
    commands.add_parser("list", help="all keys, without what is secret in them")
    revoke = commands.add_parser("revoke", help="end a key, and the connections that came by it")
    revoke.add_argument("id", help="as `list` shows it")
    return parser


def _owner(text: str) -> str:
    if not is_owner(text):
        raise argparse.ArgumentTypeError("an owner has 1 to 255 printable characters")
    return text


def _moment(text: str | None, now: float) -> float | None:
    """Wall seconds; without a time zone it is UTC."""
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now + int(span[1]) * _SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"--expires: {text!r} is no time and no span such as 30d") from None
    found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if found <= now:
        raise argparse.ArgumentTypeError(f"--expires: {text} is over")
    return found


def _create(file: KeyFile, owner: str, now: float, expires_at: float | None) -> int:
    record, key = make_key(owner, now, expires_at)
    first = not file.records()
    file.add(record)
    sys.stdout.write(key + "\n")
    sys.stderr.write(f"This is shown once. Its id is {record.id}; it expires {_shown(expires_at, 'never')}.\n")
    if first:
        sys.stderr.write("It is the first one: restart gateways that let everybody in, and they ask for it.\n")
    return 0


def _list(file: KeyFile, now: float) -> int:
    sys.stdout.write(_ROW.format("id", "state", "made", "expires", "owner") + "\n")
    for key in file.records():
        row = key.id, _state(key, now), _shown(key.created_at, ""), _shown(key.expires_at, "never"), key.owner
        sys.stdout.write(_ROW.format(*row) + "\n")
    return 0


def _revoke(file: KeyFile, id: str, now: float) -> int:
    if not file.revoke(id, now):
        return _failed("there is no key with this id; `list` shows them")
    sys.stderr.write("Revoked.\n")
    return 0


def _state(key: ApiKey, now: float) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


def _shown(moment: float | None, never: str) -> str:
    return never if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _failed(sentence: str) -> int:
    sys.stderr.write(f"{PROG}: {sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
