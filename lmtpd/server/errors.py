"""What keeps the server from starting."""


class CannotStart(Exception):
    """The message is one line for the administrator, code the exit code that goes with it (sysexits.h)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
