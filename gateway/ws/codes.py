"""Close codes (RFC 6455, section 7.4, and IANA's registry)."""

NORMAL = 1000
PROTOCOL_ERROR = 1002
TEXT_ONLY = 1003
NO_CODE = 1005  # said of a close without a code; never stands in one
ABNORMAL = 1006  # said of an end without a close; likewise
NOT_UTF8 = 1007
TOO_LARGE = 1009
INTERNAL_ERROR = 1011
RESTART = 1012

_RESERVED = {1004, NO_CODE, ABNORMAL}
_LAST = 1014  # of those that are registered


def may_be_sent(code: int) -> bool:
    """Whether a client may close with it."""
    return (NORMAL <= code <= _LAST and code not in _RESERVED) or 3000 <= code < 5000
