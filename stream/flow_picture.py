"""The flow of one configuration as a picture, in SVG: written by hand, for it is boxes and arrows.

Columns go from left to right as events do: each log that events pass, and the lanes that read it,
then what the score lanes write, then the learn lane and what it writes. Labels go below, what is
kept in Redis stands above or between. Dead letters have a way of their own, which all who write
them join. The same configuration gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from stream.flow import PENDING, VERSIONS, Flow, LaneFlow
from stream.topics import DEAD_LETTERS

# Of the widest characters that monospaced fonts have at this size, so that names stay in their box.
_CHARACTER = 7.3
_LINE, _PAD, _GAP = 16, 12, 26
_COLUMN_GAP, _MARGIN, _TRUNK = 84, 24, 22
_LEGEND = (
    "blue: logs; yellow: lanes; green: Redis, dashed: looked up; grey: records that are refused"
)
_STYLE = """
  text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #1f2933; }
  .lane text:first-of-type { font-weight: bold; }
  .topic rect { fill: #e3f0fb; stroke: #2b6cb0; }
  .lane rect { fill: #fdf3d7; stroke: #b7791f; }
  .store path { fill: #e6f4ea; stroke: #2f855a; }
  .arrow { fill: none; stroke: #52606d; stroke-width: 1.3; marker-end: url(#head); }
  .keeps, .asks { stroke: #2f855a; }
  .asks { stroke-dasharray: 5 3; }
  .refused { stroke: #9aa5b1; }
"""


@dataclass(frozen=True, slots=True)
class _Box:
    name: str
    kind: str
    lines: tuple[str, ...]
    column: int
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + _PAD * (2 if self.kind == "store" else 1)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def centre(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one name to another: `writes`, `reads`, `keeps`, `asks`, or `refused`."""

    start: str
    end: str
    kind: str


def arrows(flow: Flow) -> list[Arrow]:
    """List what is drawn between the boxes: each record's way, and who keeps or looks up what."""
    drawn = []
    for lane in flow.lanes:
        drawn += [Arrow(topic, lane.name, "reads") for topic in lane.reads]
        for topic in lane.writes:
            refused = topic.endswith(f".{DEAD_LETTERS.name}")
            drawn.append(Arrow(lane.name, topic, "refused" if refused else "writes"))
        drawn += [Arrow(lane.name, store, "keeps") for store in lane.keeps]
        drawn += [Arrow(store, lane.name, "asks") for store in lane.asks]
    return drawn


def picture(flow: Flow, title: str) -> str:
    """Draw it."""
    boxes = _place(flow)
    width = max(box.x + box.width for box in boxes.values()) + _MARGIN
    foot = max(box.y + box.height for box in boxes.values()) + _GAP + _LINE
    height = foot + _MARGIN
    shown = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shown} role="img">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#52606d"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        *_drawn_arrows(flow, boxes),
        *(_drawn(box) for box in boxes.values()),
        f'<text x="{_MARGIN}" y="{foot:g}">{_LEGEND}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _place(flow: Flow) -> dict[str, _Box]:
    """Give each name its box: rows from the top, then columns as wide as their widest text."""
    *stages, label, learn = flow.lanes
    n = 2 * len(stages)
    path = [stage.reads[0] for stage in stages]
    score = stages[-1]
    examples, *commands = learn.reads
    dead = next(topic for topic in score.writes if topic.endswith(f".{DEAD_LETTERS.name}"))
    by_score = [topic for topic in score.writes if topic not in (examples, dead)]
    by_learn = [topic for topic in learn.writes if topic not in by_score]
    # A row is a list of stacks: boxes of one column, one below the other.
    pasts = [
        [_Box(store, "store", (store,), 2 * place + 1)]
        for place, stage in enumerate(stages)
        for store in stage.keeps
        if store != PENDING
    ]
    events = [
        stack
        for place, stage in enumerate(stages)
        for stack in (
            [_topic(path[place], 2 * place, f"by {flow.keys[path[place]]}")],
            [_lane(stage, 2 * place + 1)],
        )
    ]
    rows = [
        pasts,
        [*events, [_topic(topic, n) for topic in by_score]],
        [[_topic(dead, n)]],
        [
            [_Box(PENDING, "store", (PENDING,), n - 1)],
            [_Box(VERSIONS, "store", (VERSIONS,), n)],
        ],
        [
            [_topic(label.reads[0], 0)],
            [_lane(label, 1)],
            [_topic(topic, n) for topic in (examples, *commands)],
            [_lane(learn, n + 1)],
            [_topic(topic, n + 2) for topic in by_learn],
        ],
    ]
    return _spread([row for row in rows if row])


def _spread(rows: Sequence[Sequence[Sequence[_Box]]]) -> dict[str, _Box]:
    boxes = [box for row in rows for stack in row for box in stack]
    widths: dict[int, float] = {}
    for box in boxes:
        needed = max(map(len, box.lines)) * _CHARACTER + 2 * _PAD
        widths[box.column] = max(widths.get(box.column, 0.0), needed)
    lefts, left = {}, float(_MARGIN)
    for column in range(max(widths) + 1):
        lefts[column] = left
        left += widths.get(column, 0.0) + _COLUMN_GAP
    placed, top = {}, float(_MARGIN)
    for row in rows:
        heights = [sum(box.height for box in stack) + _PAD * (len(stack) - 1) for stack in row]
        for stack, height in zip(row, heights, strict=True):
            y = top + (max(heights) - height) / 2
            for box in stack:
                x, width = lefts[box.column], widths[box.column]
                placed[box.name] = replace(box, x=x, y=y, width=width)
                y += box.height + _PAD
        top += max(heights) + _GAP
    return placed


def _topic(name: str, column: int, *more: str) -> _Box:
    return _Box(name, "topic", (name, *more), column)


def _lane(lane: LaneFlow, column: int) -> _Box:
    return _Box(lane.name, "lane", (lane.name, *(f"+ {name}" for name in lane.adds)), column)


def _drawn(box: _Box) -> str:
    right, bottom = box.width, box.height
    if box.kind == "store":
        arc = f"a{right / 2:g} {_PAD / 2:g} 0 0"
        shape = (
            f'<path d="M0 {_PAD / 2:g}v{bottom - _PAD:g}{arc} 0 {right:g} 0V{_PAD / 2:g}'
            f'{arc} 0 {-right:g} 0{arc} 0 {right:g} 0"/>'
        )
    else:
        radius = 3 if box.kind == "lane" else 10
        shape = f'<rect width="{right:g}" height="{bottom:g}" rx="{radius}"/>'
    first = _PAD / 2 + 12 + (_PAD - 2 if box.kind == "store" else 0)
    texts = "".join(
        f'<text x="{_PAD}" y="{first + i * _LINE:g}">{_text(line)}</text>'
        for i, line in enumerate(box.lines)
    )
    name = _text(box.name)
    at = f"translate({box.x:g} {box.y:g})"
    return f'<g class="{box.kind}" data-name="{name}" transform="{at}">{shape}{texts}</g>'


def _drawn_arrows(flow: Flow, boxes: dict[str, _Box]) -> Iterator[str]:
    for arrow in arrows(flow):
        way = _way(boxes[arrow.start], boxes[arrow.end], arrow.kind)
        ends = f'data-from="{_text(arrow.start)}" data-to="{_text(arrow.end)}"'
        yield f'<path class="arrow {arrow.kind}" {ends} d="{way}"/>'


def _way(start: _Box, end: _Box, kind: str) -> str:
    if kind == "refused":
        # Out to the gap, up or down to the height of the dead letters, then to them.
        y = start.y + start.height * (0.75 if start.y < end.y else 0.25)
        return f"M{start.x + start.width:g} {y:g}h{_TRUNK}V{end.middle:g}H{end.x:g}"
    if start.column == end.column:
        x1, x2 = start.centre, end.centre
        down = start.y < end.y
        y1 = start.y + (start.height if down else 0.0)
        return f"M{x1:g} {y1:g}L{x2:g} {end.y if down else end.y + end.height:g}"
    if start.column > end.column:
        if start.kind == "store":
            # What is looked up comes back to lanes that stand earlier, to their near edge.
            x = end.x + end.width * 0.9
            y = end.y + (0.0 if start.y < end.y else end.height)
            return f"M{start.x:g} {start.middle:g}Q{x:g} {start.middle:g} {x:g} {y:g}"
        x, y = start.centre, end.x + end.width
        return f"M{x:g} {start.y:g}Q{x:g} {end.middle:g} {y:g} {end.middle:g}"
    x1, y1, x2, y2 = start.x + start.width, start.middle, end.x, end.middle
    if end.y + end.height < start.y and end.lines[1:]:
        # Label facts come into a log from below: from the left come its events.
        return f"M{x1:g} {y1:g}Q{end.centre:g} {y1:g} {end.centre:g} {end.y + end.height:g}"
    bend = (x2 - x1) / 2 if y1 != y2 else 0.0
    return f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"


def _text(text: str) -> str:
    # XML has no way to write most control characters, not even escaped.
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return escape(shown)
