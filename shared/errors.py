"""Everything that can go wrong in a way a client may see, as one tree.

Each class is one error code of the wire protocol. `message` is a sentence for a person: it never holds a path, a
host, a secret or a traceback. `retryable` says whether the same request may succeed later.
"""

from typing import ClassVar


class ChatError(Exception):
    """The root. Raised as itself it means `internal`."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = True
    sentence: ClassVar[str] = "Something went wrong inside the service."
    registry: ClassVar[dict[str, type["ChatError"]]] = {}

    def __init__(self, message: str | None = None, detail: int = 0) -> None:
        self.message = message or self.sentence
        self.detail = detail
        super().__init__(self.message)

    def __init_subclass__(cls) -> None:
        if (
            "code" in cls.__dict__
        ):  # one that only narrows another has no code of its own, and must not take that one's place
            ChatError.registry[cls.code] = cls

    @staticmethod
    def of(code: str, message: str, detail: int = 0) -> "ChatError":
        """The error of that code, for whoever received it over a wire."""
        return ChatError.registry.get(code, ChatError)(message, detail)


class InvalidMessage(ChatError):
    """A request of a known type with wrong or missing fields; the message names the field."""

    code = "invalid_message"
    retryable = False
    sentence = "The message is not valid."


class UnknownType(ChatError):
    """An object whose `type` the protocol does not know."""

    code = "unknown_type"
    retryable = False
    sentence = "This type of message is not known."


class UnknownId(ChatError):
    """A cancel for a message id that nobody has seen."""

    code = "unknown_id"
    retryable = False
    sentence = "No message with this id is known in this session."


class PromptTooLong(ChatError):
    """The model's window cannot hold the request."""

    code = "prompt_too_long"
    retryable = False
    sentence = "The conversation is longer than the model can read."


class SessionNotFound(ChatError):
    """Neither the broker nor the store knows the session."""

    code = "session_not_found"
    retryable = False
    sentence = "This session does not exist or has expired."


class NotAuthenticated(ChatError):
    """The caller has shown no key, ticket or token that is good here."""

    code = "not_authenticated"
    retryable = False
    sentence = "A key is needed here."


class QueueFull(ChatError):
    """The request queue holds as many messages as it may."""

    code = "queue_full"
    sentence = "Too many messages are waiting; try again later."


class Busy(ChatError):
    """The session already has a reply under way. `detail` is that reply's generation (0: not said)."""

    code = "busy"
    sentence = "Too many messages of this session are waiting for their reply."


class BrokerUnavailable(ChatError):
    """No answer from the broker: the request's fate is unknown, the same id may be sent again."""

    code = "broker_unavailable"
    sentence = "The message queue cannot be reached; send the same id again."


class EngineError(ChatError):
    """The model's server refused the request or broke off its answer."""

    code = "engine_error"
    sentence = "The model could not finish its reply."


class EngineUnavailable(ChatError):
    """The model's server cannot be reached."""

    code = "engine_unavailable"
    sentence = "The model cannot be reached at the moment."


class WorkerLost(ChatError):
    """Every attempt at this reply ended with the loss of its worker."""

    code = "worker_lost"
    sentence = "The reply was given up after its workers failed repeatedly."


class Expired(ChatError):
    """The request waited too long for a worker."""

    code = "expired"
    sentence = "No worker took the message in time."


class StoreUnavailable(ChatError):
    """The store cannot be reached or takes no more: nothing new is accepted, the same request may be sent again."""

    code = "store_unavailable"
    sentence = "The history cannot be written at the moment; try again later."
