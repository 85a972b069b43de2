"""Ids of sessions. One says whether its session is stored, so that every gateway process knows."""

import secrets

STORED, TRANSIENT = "s_", "t_"


def new(*, stored: bool) -> str:
    """One that nobody can guess."""
    return f"{STORED if stored else TRANSIENT}{secrets.token_hex(12)}"


def is_stored(id: str) -> bool:
    """Whether its session lasts, where there is a store."""
    return not id.startswith(TRANSIENT)
