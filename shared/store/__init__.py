"""Conversations that last: sessions with their messages and answers, in SQLite or PostgreSQL."""

from shared.store.base import Store
from shared.store.records import (
    Answer,
    Asked,
    Exchange,
    Place,
    Question,
    SessionPage,
    Status,
    StoredSession,
    StoredTurn,
)

__all__ = [
    "Answer",
    "Asked",
    "Exchange",
    "Place",
    "Question",
    "SessionPage",
    "Status",
    "Store",
    "StoredSession",
    "StoredTurn",
]
