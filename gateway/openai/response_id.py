"""The id of a response: its session and its message, so that any gateway process finds both. Opaque to clients."""

import base64
import binascii
import secrets
from typing import NamedTuple

import msgspec

_PREFIX = "resp_"
_LONGEST = 1_024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str]).decode


class ResponseId(NamedTuple):
    """Where a response is."""

    session: str
    message: str

    def __str__(self) -> str:
        return _PREFIX + self._letters()

    @property
    def item(self) -> str:
        """The id of the message that it puts out."""
        return f"msg_{self._letters()}"

    def input_item(self, number: int) -> str:
        """The id of one that was put in."""
        return f"msg_{number}_{self._letters()}"

    def _letters(self) -> str:
        return base64.urlsafe_b64encode(_encode((self.session, self.message))).rstrip(b"=").decode()

    @staticmethod
    def in_session(session: str) -> "ResponseId":
        """A new one."""
        return ResponseId(session, f"r_{secrets.token_hex(8)}")

    @staticmethod
    def parse(text: str) -> "ResponseId":
        """The inverse of `str`. Raises ValueError."""
        if not text.startswith(_PREFIX) or len(text) > _LONGEST:
            raise ValueError("not the id of a response")
        letters = text.removeprefix(_PREFIX)
        try:
            data = base64.b64decode(letters + "=" * (-len(letters) % 4), altchars=b"-_", validate=True)
            found = ResponseId(*_decode(data))
        except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, ValueError):
            raise ValueError("not the id of a response") from None
        if str(found) != text:
            raise ValueError("another spelling of the id of a response")
        return found
