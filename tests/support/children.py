"""Waiting for the end of a child process."""

from lmtpd.server.children import Child
from tests.support.polling import wait_for


def code_of(child: Child) -> int:
    """Wait for the child's end; return its exit code, negative for a signal. Once for each child."""
    codes: list[int] = []

    def has_ended() -> bool:
        if (code := child.exit_code()) is not None:
            codes.append(code)
        return bool(codes)

    wait_for(has_ended, "the end of the child")
    child.control.close()
    return codes[0]
