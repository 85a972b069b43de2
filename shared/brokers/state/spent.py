"""Tokens that have been spent: each good for one spender, and remembered until nobody could show it any more."""

import heapq


class Spent:
    """At most `most` of them; when it is full nobody can spend, for to forget one early would let it be spent again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spenders: dict[str, str] = {}
        self._ends: list[tuple[float, str]] = []  # a heap

    def __len__(self) -> int:
        return len(self._spenders)

    @property
    def full(self) -> bool:
        """Whether no further token can be remembered."""
        return len(self._spenders) >= self._most

    def spender(self, token: str) -> str | None:
        """Who has spent it; None: nobody as yet."""
        return self._spenders.get(token)

    def add(self, token: str, spender: str, until: float) -> None:
        """It is spent, and remembered until then (clock seconds)."""
        self._spenders[token] = spender
        heapq.heappush(self._ends, (until, token))

    def expire(self, now: float) -> None:
        """Forget those whose time is over."""
        while self._ends and self._ends[0][0] <= now:
            del self._spenders[heapq.heappop(self._ends)[1]]
