"""`lmtpd`, and `python -m lmtpd`: run a command, turn every ending into an exit code of sysexits.h."""

import os
import sys
from collections.abc import Sequence

import click

from lmtpd.cli import lmtpd

EX_INTERRUPTED = 130  # as a shell reports SIGINT
EX_PIPE = 141  # and SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.  Prints no traceback unless LMTPD_TRACEBACK is set."""
    return run_command(lmtpd, "lmtpd", arguments)


def run_command(command: click.Command, name: str, arguments: Sequence[str] | None) -> int:
    """Run any command as `main` runs lmtpd's: the admin scripts end in the same ways."""
    _fill_standard_streams()
    if _runs_set_id():
        click.echo(
            f"{name}: refuses to run set-uid or set-gid, with rights that its caller has not", err=True
        )
        return os.EX_NOPERM
    try:
        code = command.main(
            args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else os.EX_OK
    except click.UsageError as exc:
        exc.show()
        return os.EX_USAGE
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except click.Abort:
        return EX_INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` say, has had enough.  Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_PIPE
    except Exception as exc:
        if os.environ.get("LMTPD_TRACEBACK"):
            raise
        click.echo(f"{name}: bug: {type(exc).__name__}: {exc} (set LMTPD_TRACEBACK=1 to see where)", err=True)
        return os.EX_SOFTWARE


def _runs_set_id() -> bool:
    """Tell whether files that the caller names would be opened with somebody else's rights."""
    return os.getuid() != os.geteuid() or os.getgid() != os.getegid()


def _fill_standard_streams() -> None:
    """Open what the starter has closed: else the next file opened, mail even, would take what we print."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number: fd
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


if __name__ == "__main__":
    sys.exit(main())
