"""Conversations that last: sessions with their messages and answers, in SQLite or PostgreSQL."""

from shared.settings import Settings
from shared.store.base import Store
from shared.store.records import (
    Answer,
    Exchange,
    Place,
    Question,
    SessionPage,
    Status,
    StoredSession,
    StoredTurn,
)

NONE = "none"  # the setting of those who want no history

__all__ = [
    "NONE",
    "Answer",
    "Exchange",
    "Place",
    "Question",
    "SessionPage",
    "Status",
    "Store",
    "StoredSession",
    "StoredTurn",
    "open_store",
]


async def open_store(settings: Settings) -> Store | None:
    """The store of `settings.database.url`; None: nothing is to be stored.

    Raises ValueError, with a sentence for the operator, where it cannot be used.
    """
    text = settings.database.url.get_secret_value()
    if text == NONE:
        return None
    from shared.store.opening import open_sql

    return await open_sql(text)
