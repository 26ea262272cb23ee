"""Maildirs for the tests of `maildir-check`."""

from pathlib import Path

from tests.support.scripting import Result, new_maildir, tree

BASE = "1764000000.M1P2Q3R4ab.mx"
TEXT = b"Subject: x\n\nhello\n"  # 18 octets, 21 with CRLF
GOOD = f"{BASE},S=18,W=21"


def proper_maildir(path: Path) -> Path:
    """Make a Maildir that nothing is wrong with."""
    new_maildir(path)
    for each in (path, *path.iterdir()):
        each.chmod(0o700)
    return path


def put(maildir: Path, name: str, content: bytes = TEXT, mode: int = 0o600) -> Path:
    """Make a file."""
    path = maildir / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def found(result: Result) -> list[tuple[object, object]]:
    """Return the kind and the place of each finding."""
    return [(fact["kind"], fact["name"]) for fact in result.facts]


def state(path: Path) -> dict[str, tuple[bytes | None, str, int]]:
    """Everything that a repair may change, the undo log apart."""
    return {
        name: (content, oct((path / name).lstat().st_mode), (path / name).lstat().st_uid)
        for name, content in tree(path).items()
        if not name.startswith("maildir-check.undo")
    }
