"""An exchange judged as a monitoring plugin does: state, one line, figures (Monitoring Plugins)."""

from dataclasses import dataclass
from enum import IntEnum

from scripts.lmtp.outcome import Outcome


class State(IntEnum):
    """The exit codes of plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """From how many seconds on an exchange is too slow; None: never."""

    warning_s: float | None
    critical_s: float | None


def judge(outcome: Outcome, limits: Limits) -> State:
    """Whoever is not accepted is critical: mail would not arrive."""
    if outcome.failure or outcome.refusal:
        return State.CRITICAL
    if limits.critical_s is not None and outcome.seconds >= limits.critical_s:
        return State.CRITICAL
    if limits.warning_s is not None and outcome.seconds >= limits.warning_s:
        return State.WARNING
    return State.OK


def status_line(outcome: Outcome, limits: Limits) -> str:
    """Write the line with its figures behind the bar."""
    state = judge(outcome, limits)
    what = outcome.failure or outcome.refusal or _fine(outcome)
    # The bar begins the figures, so no server may say one.
    text = f"LMTP {state.name}: {what}, {outcome.seconds:.3f} s".replace("|", "/")
    bounds = f"{_number(limits.warning_s)};{_number(limits.critical_s)};0"
    figures = (
        f"time={outcome.seconds:.6f}s;{bounds} connect={outcome.connect_s:.6f}s;;;0 "
        f"accepted={outcome.accepted};;;0 refused={len(outcome.refused)};;;0"
    )
    return f"{text} | {figures}"


def _fine(outcome: Outcome) -> str:
    tls = f" under {outcome.tls}" if outcome.tls else ""
    if not outcome.accepted:
        return f"{outcome.greeting or 'greeted'}{tls}"
    return f"{outcome.accepted} accepted{tls}"


def _number(limit: float | None) -> str:
    return "" if limit is None else f"{limit:g}"
