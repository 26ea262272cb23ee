"""A configuration as the keys and values it amounts to, defaults included: what `lmtpd check` shows."""

from collections.abc import Iterator, Mapping

from lmtpd.config.places import KeyPath
from lmtpd.config.schema import Config, Metrics, UnixListener
from lmtpd.config.section import Section
from lmtpd.config.submission import SmtpServer
from lmtpd.config.template import Template
from storage.quota_limit import QuotaLimit


def effective(config: Config) -> Iterator[tuple[KeyPath, object]]:
    """Yield every key with its value as TOML would have it; None for what is not set."""
    derived: dict[KeyPath, str] = {
        ("mailboxes", "postmaster"): config.postmaster,
        ("ledger", "url"): f"sqlite://{config.ledger_path}",
    }
    if isinstance(address := config.metrics_address, str):
        derived["metrics", "unix"] = address
    for path, value in _leaves((), config):
        yield path, derived.get(path, value)


def _leaves(path: KeyPath, section: Section) -> Iterator[tuple[KeyPath, object]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        here = (*path, name)
        if isinstance(value, Section):
            yield from _leaves(here, value)
        elif isinstance(value, Mapping) and any(isinstance(each, Section) for each in value.values()):
            for key, element in value.items():
                yield from _leaves((*here, key), element)
        elif isinstance(value, tuple) and value and isinstance(value[0], Section):
            for index, element in enumerate(value):
                yield from _leaves((*here, index), element)
        else:
            yield here, _plain(section, name, section.shown(name))


def _plain(section: Section, name: str, value: object) -> object:
    if isinstance(section, UnixListener | Metrics) and name == "mode":
        return f"{section.mode:04o}"
    if name == "tcp" and value is not None:
        return str(section).removeprefix("tcp:")
    if isinstance(value, Template):
        return value.text
    if isinstance(value, QuotaLimit | SmtpServer):
        return str(value)
    if isinstance(value, Mapping):
        return {key: list(each) if isinstance(each, tuple) else each for key, each in value.items()}
    return [_text(name, each) for each in value] if isinstance(value, tuple) else value


def _text(name: str, value: object) -> str:
    return f"{value}%" if name == "warnings" else str(value)
