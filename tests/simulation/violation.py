"""How a broken promise is said."""


class Violation(AssertionError):
    """A promise that was broken. Its text begins with the promise's name."""

    def __init__(self, promise: str, detail: object) -> None:
        self.promise = promise
        super().__init__(f"{promise}: {detail}")
