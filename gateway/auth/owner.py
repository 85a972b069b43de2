"""The name that sessions belong to."""

LONGEST = 255  # characters


def is_owner(name: str) -> bool:
    """Whether it can be one: printable, not empty, for the empty one is nobody's."""
    return 0 < len(name) <= LONGEST and name.isprintable()
