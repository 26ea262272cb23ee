"""Bar charts as SVG, without any library: readable in a browser, light or dark, and by a screen reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _MARGIN, _LABEL, _ROW, _BARS = 760, 16, 200, 22, 200

_STYLE = """\
<style>
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .title { font-weight: 600; font-size: 15px }
  .quiet { fill: #666 }
  .bar { fill: #3b76c4 }
  .paper { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .quiet { fill: #999 } .bar { fill: #6ea0e6 } .paper { fill: #1b1b1d }
  }
</style>"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, its length, and what is written at its end."""

    name: str
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a picture."""

    title: str
    bars: Sequence[Bar]
    upright: bool = False  # columns over time, else rows


def picture(title: str, panels: Sequence[Panel]) -> str:
    """Draw panels below each other."""
    body, y = [], _MARGIN + 24
    for panel in panels:
        body.append(f'<text class="title" x="{_MARGIN}" y="{y + 14}">{escape(panel.title)}</text>')
        y += 30
        drawn, height = _columns(panel.bars, y) if panel.upright else _rows(panel.bars, y)
        body += drawn
        y += height + 24
    size = f'width="{_WIDTH}" height="{y}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_WIDTH} {y}" role="img">',
            f"<title>{escape(title)}</title>",
            _STYLE,
            f'<rect class="paper" {size}/>',
            f'<text class="quiet" x="{_MARGIN}" y="{_MARGIN + 10}">{escape(title)}</text>',
            *body,
            "</svg>\n",
        ]
    )


def _rows(bars: Sequence[Bar], top: int) -> tuple[list[str], int]:
    longest = max((bar.value for bar in bars), default=0) or 1
    room = _WIDTH - _LABEL - 2 * _MARGIN - 110
    drawn = []
    for index, bar in enumerate(bars):
        y, length = top + index * _ROW, room * bar.value / longest
        name = bar.name if len(bar.name) <= 28 else bar.name[:27] + "…"
        right = _MARGIN + _LABEL
        box = f'x="{right}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 8}"'
        tip = f"<title>{escape(bar.name)}: {escape(bar.text)}</title>"
        drawn += [
            f'<text x="{right - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar" {box}>{tip}</rect>',
            f'<text class="quiet" x="{right + length + 6:.1f}" y="{y + 14}">{escape(bar.text)}</text>',
        ]
    return drawn, len(bars) * _ROW


def _columns(bars: Sequence[Bar], top: int) -> tuple[list[str], int]:
    highest = max((bar.value for bar in bars), default=0) or 1
    step = (_WIDTH - 2 * _MARGIN) / max(len(bars), 1)
    every = max(1, -(-len(bars) // 12))  # a label for each would be too narrow
    drawn = []
    for index, bar in enumerate(bars):
        x, height = _MARGIN + index * step, _BARS * bar.value / highest
        drawn.append(
            f'<rect class="bar" x="{x + step * 0.1:.1f}" y="{top + _BARS - height:.1f}" '
            f'width="{step * 0.8:.1f}" height="{height:.1f}">'
            f"<title>{escape(bar.name)}: {escape(bar.text)}</title></rect>"
        )
        if index % every == 0:
            drawn.append(f'<text class="quiet" x="{x:.1f}" y="{top + _BARS + 18}">{escape(bar.name)}</text>')
    if bars:
        most = max(bars, key=lambda bar: bar.value)
        drawn.append(f'<text class="quiet" x="{_MARGIN}" y="{top - 4}">{escape(most.text)} at most</text>')
    return drawn, _BARS + 22
