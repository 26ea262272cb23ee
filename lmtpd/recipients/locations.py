"""From a template to the path of a Maildir.

The template's part before its first placeholder is the *root*: the administrator made it and links
in it are followed. Everything below comes from an address: each component is checked, and storage
opens it without following links.
"""

from pathlib import PurePosixPath

from lmtpd.recipients.naming import safe_component
from storage.maildir import MaildirPath

_HOME = "{home}"


class Template:
    """An absolute path with `{user}`, `{domain}` and `{detail}` in it; also `{home}` in front."""

    __slots__ = ("_components", "files_detail", "of_home", "root", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        parts = PurePosixPath(text).parts
        first = next((i for i, part in enumerate(parts) if "{" in part), len(parts))
        self.of_home = parts[0] == _HOME
        self.root = str(PurePosixPath(*parts[:first])) if first else ""
        self._components = parts[1:] if self.of_home else parts[first:]
        self.files_detail = "{detail}" in text  # into a Maildir of its own, not into a folder

    def path_of(
        self, *, user: str, domain: str, detail: str | None, home: str | None = None
    ) -> MaildirPath | None:
        """Fill in; None if no path can safely be made of these names. home: absolute, the root then."""
        if not safe_component(user) or ("{domain}" in self.text and not safe_component(domain)):
            return None
        if self.files_detail and detail and not safe_component(detail):
            return None
        values = {"user": user, "domain": domain, "detail": detail or ""}
        parts = []
        for component in self._components:
            part = component.format_map(values) if "{" in component else component
            if not part:
                continue  # an empty detail leaves no directory of its own
            if "{" in component and not safe_component(part):
                return None  # too long, together with what stands around the placeholder
            parts.append(part)
        if self.of_home and home is None:
            return None
        return MaildirPath(home if self.of_home and home else self.root, tuple(parts))
