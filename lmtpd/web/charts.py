"""Charts as inline SVG and HTML.  Colours and sizes are the style sheet's; every text is escaped here.

What is drawn is stretched to the width of the page, so no letter is within a drawing: labels are HTML.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from lmtpd.report.formats import escaped

OUTCOMES = ("delivered", "recognised", "deferred", "refused", "dropped")  # from the axis upwards
_HEIGHT = 100.0


def shown(text: str) -> str:
    """Make text from the world harmless: neither markup nor control characters."""
    return escape(escaped(text))


def stacked(slots: Sequence[Mapping[str, int]], labels: Sequence[str]) -> str:
    """Draw one column for each slot, by outcome; labels name the slots."""
    top = max((sum(slot.values()) for slot in slots), default=0)
    marks = []
    for place, (slot, label) in enumerate(zip(slots, labels, strict=True)):
        level = _HEIGHT
        for outcome in OUTCOMES:
            if count := slot.get(outcome, 0):
                height = count / top * _HEIGHT
                level -= height
                marks.append(
                    f'<rect class="mark {outcome}" x="{place + 0.1:.1f}" width="0.8" y="{level:.2f}"'
                    f' height="{height:.2f}"><title>{shown(label)}: {count:,} {outcome}</title></rect>'
                )
    used = [outcome for outcome in OUTCOMES if any(outcome in slot for slot in slots)]
    key = "".join(f'<li><i class="swatch {outcome}"></i>{outcome}</li>' for outcome in used)
    return _over_time("".join(marks), labels, f"{top:,}") + f'<ul class="key">{key}</ul>'


def columns(values: Mapping[int, tuple[float, float]], labels: Sequence[str]) -> str:
    """Draw mean and longest of each slot, in milliseconds."""
    top = max((longest for _, longest in values.values()), default=0.0) or 1.0
    marks = []
    for place, (mean, longest) in sorted(values.items()):
        title = f"<title>{shown(labels[place])}: mean {mean:.1f} ms, longest {longest:.1f} ms</title>"
        for kind, value in (("longest", longest), ("mean", mean)):
            height = max(value / top * _HEIGHT, 0.6)
            marks.append(
                f'<rect class="mark {kind}" x="{place + 0.1:.1f}" width="0.8" y="{_HEIGHT - height:.2f}"'
                f' height="{height:.2f}">{title}</rect>'
            )
    key = "".join(f'<li><i class="swatch {kind}"></i>{kind}</li>' for kind in ("mean", "longest"))
    return _over_time("".join(marks), labels, f"{top:,.1f} ms") + f'<ul class="key">{key}</ul>'


def bars(rows: Iterable[tuple[str, float, str]], *, kind: str) -> str:
    """Draw a bar for each (name, value, what is written beside it)."""
    rows = list(rows)
    top = max((value for _, value, _ in rows), default=0.0) or 1.0
    lines = "".join(
        f'<tr><th scope="row">{shown(name)}</th><td class="number">{shown(text)}</td></tr>'
        '<tr class="drawn"><td colspan="2"><svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none"'
        f' aria-hidden="true"><rect class="rail" width="100" height="1"/><rect class="mark {kind}"'
        f' width="{value / top * 100:.2f}" height="1"/></svg></td></tr>'
        for name, value, text in rows
    )
    return f'<table class="bars">{lines}</table>'


def _over_time(marks: str, labels: Sequence[str], top: str) -> str:
    middle = labels[len(labels) // 2]
    return (
        f'<div class="plot"><span class="top">{shown(top)}</span>'
        f'<svg viewBox="0 0 {len(labels)} {_HEIGHT:g}" preserveAspectRatio="none" role="img"'
        f' aria-label="from {shown(labels[0])} to now, at most {shown(top)}">{marks}</svg></div>'
        f'<div class="axis"><span>{shown(labels[0])}</span><span>{shown(middle)}</span><span>now</span></div>'
    )
