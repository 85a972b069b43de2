"""A conversation as Markdown, for people."""

from datetime import UTC, datetime

from gateway.rest.shapes import Conversation, Reply, StoredMessage


def markdown(conversation: Conversation) -> str:
    """Texts stand as they are: what is Markdown in them stays Markdown."""
    parts = [f"# {_line(conversation.title) or 'Conversation'}", f"{_date(conversation.created_ms)}"]
    if conversation.system:
        parts += ["## System", conversation.system]
    for message in conversation.messages:
        parts += _message(message)
    return "\n\n".join(parts) + "\n"


def _message(message: StoredMessage) -> list[str]:
    heading = (
        f"## Assistant ({_line(message.reply.model)})" if message.reply and message.reply.model else "## Assistant"
    )
    return ["## You", message.content, heading, *_reply(message.reply)]


def _reply(reply: Reply | None) -> list[str]:
    if reply is None:
        return ["*(no reply yet)*"]
    text = [reply.text] if reply.text else []
    if reply.error is not None:
        return [*text, f"*(ended early: {reply.error.message})*"]
    return [*text, "*(cancelled)*"] if reply.finish_reason == "cancelled" else text


def _line(text: str) -> str:
    return " ".join(text.split())


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
