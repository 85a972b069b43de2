"""The models that clients may name. The engines run elsewhere: what is known of them here is in the settings."""

from collections.abc import Sequence
from typing import Any

from gateway.openai.problem import INVALID, Problem, Refused
from shared.settings import Settings

OPENAI = "openai"  # the engine whose requests name a model
DEFAULT = "default"  # stands for the model server's first one, where the settings name none
OWNER = "llm-chat"


class Models:
    """`names` come first to last as they are listed. Where `open`, any other name is handed on to the model server."""

    def __init__(self, names: Sequence[str], *, named: bool, open: bool, created: int) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._named = named  # whether the engine is told the name
        self._open = open
        self._created = created

    @staticmethod
    def of(settings: Settings, created: int) -> "Models":
        """By the settings. `created`: seconds since 1970; OpenAI's models have such a date."""
        listed, configured = settings.gateway.models, settings.openai.model
        if settings.engine != OPENAI:
            return Models(listed or (settings.engine,), named=False, open=False, created=created)
        names = listed or (configured or DEFAULT,)
        return Models(names, named=True, open=not listed and configured is None, created=created)

    def resolve(self, name: str | None) -> tuple[str, str | None]:
        """The name that answers bear, and the one that the engine is told (None: its own). Raises Refused."""
        if name is None:
            name = self._names[0]
        if name not in self._names and not self._open:
            raise self._unknown(name)
        return name, name if self._named and name != DEFAULT else None

    def all(self) -> dict[str, Any]:
        """The body of GET /v1/models."""
        return {"object": "list", "data": [self._object(name) for name in self._names]}

    def one(self, name: str) -> dict[str, Any]:
        """The body of GET /v1/models/{id}. Raises Refused."""
        self.resolve(name)
        return self._object(name)

    def _object(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": OWNER}

    def _unknown(self, name: str) -> Refused:
        sentence = f"The model {name[:64]!r} does not exist here; GET /v1/models lists those that do."
        return Refused(Problem(404, sentence, INVALID, "model", "model_not_found"))
