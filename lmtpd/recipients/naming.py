"""From an address to names that are safe to make a path of.

The rule: a path component is built only from a name that `safe_component` accepted. Whatever the
address parser allows, a name that could leave its directory or hide in it is nobody's mailbox.
"""

import unicodedata

from lmtpd.protocol.addresses import Address, split_detail

COMPONENT_OCTETS = 255  # NAME_MAX of every file system a Maildir lies on


def safe_component(name: str) -> bool:
    """Tell whether name can be one component of a path below the mailbox root."""
    return (
        bool(name)
        and name[0] != "."  # also "." and "..", and the folders of Maildir++
        and "/" not in name
        and name.isprintable()  # no control bytes, no lone surrogates, no line separators
        and len(name.encode("utf-8", "surrogatepass")) <= COMPONENT_OCTETS
    )


def fold(local: str, *, fold_case: bool) -> str:
    """Bring a local part into the one form by which mailboxes are named: NFC, lower case if wanted.

    RFC 5321 2.4 leaves the case of local parts to the host that owns them; RFC 6532 3.1 asks for NFC.
    """
    if local.isascii():
        return local.lower() if fold_case else local
    normal = unicodedata.normalize("NFC", local)
    # Lower-casing can leave a decomposed form behind (U+0130), hence the second pass.
    return unicodedata.normalize("NFC", normal.lower()) if fold_case else normal


def user_and_detail(address: Address, *, delimiters: str, fold_case: bool) -> tuple[str, str | None]:
    """Split the local part at the first delimiter; the user is folded, the detail only normalised."""
    user, detail = split_detail(address.local, delimiters)
    if detail is not None and not detail.isascii():
        detail = unicodedata.normalize("NFC", detail)
    return fold(user, fold_case=fold_case), detail or None
