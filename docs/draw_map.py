"""Draw docs/map.svg from the imports of the code.

    .venv/bin/python docs/draw_map.py

The rows are the layers of import-linter's contracts in pyproject.toml. The rooms are packages and single modules. The
arrows are imports; an arrow is left out where a longer way shows the same. An import that points up is an error.
A test compares the file with a new drawing (tests/house/test_architecture.py).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import grimp

ROOT: Final = Path(__file__).resolve().parents[1]
MAP: Final = ROOT / "docs" / "map.svg"
Edges = Mapping[str, frozenset[str]]
"""Room -> the rooms that it imports."""

CAPTIONS: Final = {
    "cli": "the command line: operators, jobs, demo",
    "client": "get, cache and renew tokens",
    "resource": "verify tokens in an API",
    "sasl": "OAUTH- BEARER for brokers and mail",
    "jose": "all cryptography: JWS, JWK, CWT, certificates, the master key",
    "server.serving": "listener, worker processes",
    "server.app": "the ASGI application, the first start",
    "server.composition": "creates every service and endpoint",
    "server.storage": "SQLite, PostgreSQL",
    "server.http": "bytes in, bytes out",
    "server.coap": "CoAP for devices",
    "server.outgoing": "guarded fetches",
    "server.console": "web pages",
    "server.config": "settings",
    "server.service.upkeep": "housekeeping, pruning, export, import",
    "server.service.tokens": "issue, introspect, revoke, rate limits",
    "server.service.fleet": "enrolment, device import, bulk change",
    "server.service.clients": "authenticate the caller",
    "server.service.registry": "create, change, delete",
    "server.service.keys": "rotate signing keys",
    "server.protocol": "OAuth's rules: no clock, no network, no database",
    "server.audit": "events, hash chain",
    "server.keys": "key states",
    "server.registry": "records and their rules",
}
"""What a room does, in a few words. A room without a caption is drawn without one."""
MODULES: Final = {"server.app", "server.config"}
BESIDE: Final = "server.service"
"""The files beside the wings."""
FOLDERS_SHOWN: Final = {"cli", "client", "resource", "server.http", "server.protocol"}


class Room(NamedTuple):
    """A package, a module, or the files beside the wings; `members` are the modules whose imports it has."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """Where a room stands, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def contract_rows(container: str) -> list[list[str]]:
    """The layers of a container's contract, from the top; each is a list of names."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [c["layers"] for c in contracts if c.get("containers") == [container]]
    return [re.findall(r"\w+", layer) for layer in layers]


def rows_of_rooms() -> tuple[list[list[Room]], list[list[Room]]]:
    """The server's rows from top to bottom with its wings in the place of `service`, and the light packages."""
    rows: list[list[Room]] = [[_room("cli")]]
    for row in contract_rows("watchword.server"):
        if row == ["service"]:
            rows += _wings()
        else:
            rows.append([_room(f"server.{name}") for name in row if _exists(f"server.{name}")])
    rows.append([_room("jose")])
    light = [name for row in contract_rows("watchword") for name in row if name not in ("cli", "server", "jose")]
    return rows, [[_room(name)] for name in light]


def _wings() -> list[list[Room]]:
    *wings, files = contract_rows("watchword.server.service")
    rows = [[_room(f"server.service.{name}") for name in row] for row in wings]
    members = tuple(f"server.service.{name}" for name in files)
    return [*rows, [Room(BESIDE, members)]]


def _room(name: str) -> Room:
    return Room(name, (name,))


def _exists(name: str) -> bool:
    path = ROOT / "src" / "watchword" / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports_between(rooms: Iterable[Room]) -> Edges:
    """Who imports whom, read from the code. Raises `ValueError` for a module that no room holds."""
    holders = {f"watchword.{member}": room.name for room in rooms for member in room.members}
    graph = grimp.build_graph("watchword")
    edges: dict[str, set[str]] = {name: set() for name in holders.values()}
    for module in graph.modules:
        importer = _holder(module, holders)
        for imported in graph.find_modules_directly_imported_by(module) if importer else ():
            target = _holder(imported, holders)
            if target and target != importer:
                edges[importer].add(target)
    return {name: frozenset(targets) for name, targets in edges.items()}


def _holder(module: str, holders: Mapping[str, str]) -> str:
    """The room of a module; nothing for the package files of what is drawn as a frame."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if found := holders.get(".".join(parts[:length])):
            return found
    if module in ("watchword", "watchword.server", "watchword.server.service"):
        return ""
    raise ValueError(f"{module} is in no layer of pyproject.toml's contracts")


def check_down(rows: list[list[Room]], edges: Edges) -> None:
    """Raises `ValueError` for an import that points up or to a sibling."""
    rank = {room.name: number for number, row in enumerate(rows) for room in row}
    for importer, targets in edges.items():
        for target in targets:
            if importer in rank and target in rank and rank[importer] >= rank[target]:
                raise ValueError(f"{importer} imports {target}, which is not below it")


def of_packages(edges: Edges) -> Edges:
    """The imports between whole packages: `server` is one of them here."""
    packages: dict[str, set[str]] = {}
    for importer, targets in edges.items():
        package = importer.partition(".")[0]
        packages.setdefault(package, set()).update(target.partition(".")[0] for target in targets)
    return {name: frozenset(targets - {name}) for name, targets in packages.items()}


def reduced(edges: Edges) -> Edges:
    """Without the arrows that a longer way shows already. `edges` has no circle (`check_down`)."""
    return {
        name: frozenset(t for t in targets if not _reached(edges, targets - {t}, t)) for name, targets in edges.items()
    }


def _reached(edges: Edges, starts: frozenset[str], wanted: str) -> bool:
    return any(wanted in edges[start] or _reached(edges, edges[start], wanted) for start in starts)


# The drawing

LEFT, SERVER_WIDTH, RIGHT = 20, 670, 1000
ROOM_HEIGHT, GAP = 46, 30
STYLE: Final = """
    .back { fill: #ffffff } .frame { fill: #f1f5f9; stroke: #94a3b8 } .wings { fill: #e0e7ff; stroke: #818cf8 }
    .room { fill: #ffffff; stroke: #334155 } .name { fill: #0f172a; font-weight: 600 }
    .note { fill: #475569; font-size: 11.5px }
    .arrow { stroke: #475569; fill: none; stroke-width: 1.4 } .head { fill: #475569 }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117 } .frame { fill: #161b22; stroke: #4b5563 } .wings { fill: #1e2140; stroke: #6366f1 }
      .room { fill: #0d1117; stroke: #94a3b8 } .name { fill: #f1f5f9 } .note { fill: #b6c2d1 }
      .arrow { stroke: #a3b1c6 } .head { fill: #a3b1c6 }
    }"""


def place(rows: list[list[Room]], light: list[list[Room]]) -> dict[str, Box]:
    """Every room's place."""
    boxes: dict[str, Box] = {}
    y = 20.0
    for row in rows:
        names = [room.name for room in row]
        height = ROOM_HEIGHT + (16 if FOLDERS_SHOWN & set(names) else 0)  # room for one line more
        y += 14 if names[0] == "server.serving" else 0
        y += 12 if _in_wings(names[0]) and not any(_in_wings(name) for name in boxes) else 0
        y += 14 if names == ["server.protocol"] else 0
        y += 14 if names == ["jose"] else 0
        boxes.update(_beside(names, y, height))
        y += height + GAP
    top, bottom = boxes["server.serving"].y - 28, boxes["jose"].y - 44
    width = (RIGHT - LEFT - SERVER_WIDTH - 16 * len(light)) / len(light)
    for number, [room] in enumerate(light):
        x = LEFT + SERVER_WIDTH + 16 + number * (width + 16)
        boxes[room.name] = Box(x, top, width, bottom - top + 14)
    return boxes


def _in_wings(name: str) -> bool:
    return name == BESIDE or name.startswith(f"{BESIDE}.")


def _beside(names: list[str], y: float, height: float) -> Iterable[tuple[str, Box]]:
    """The rooms of one row, as wide as their text wants, in the middle of the server's frame."""
    if names in (["cli"], ["jose"]):
        yield names[0], Box(LEFT, y, RIGHT - LEFT, height)
        return
    margin = 70 if _in_wings(names[0]) else 14
    between = 22 if len(names) < 4 else 12
    wanted = [_text_width(name) for name in names]
    space = SERVER_WIDTH - 2 * margin - between * (len(names) - 1)
    more = max(0.0, (space - sum(wanted)) / len(names))
    widths = [min(width + more, max(width, 250)) for width in wanted]
    x = LEFT + SERVER_WIDTH / 2 - (sum(widths) + between * (len(names) - 1)) / 2
    for name, width in zip(names, widths, strict=True):
        yield name, Box(x, y, width, height)
        x += width + between


def _text_width(name: str) -> float:
    label, *notes = _lines(name)
    return 20 + max(len(label) * 7.9, *(len(note) * 6.1 for note in (*notes, "")))


def _lines(name: str) -> list[str]:
    """What is written in a room: its name, what it does, and the folders of a few."""
    if name == BESIDE:
        return [", ".join(contract_rows("watchword.server.service")[-1])]
    last = name.rpartition(".")[2]
    lines = [f"{last}.py" if name in MODULES else f"{last}/"]
    if name in CAPTIONS:
        lines.append(CAPTIONS[name])
    return [*lines, folders(name)] if name in FOLDERS_SHOWN and folders(name) else lines


def arrows(rows: list[list[Room]], boxes: dict[str, Box], edges: Edges) -> list[str]:
    """Paths from the lower edge of the importer to the upper edge of the imported, around the rooms between."""
    drawn = [(a, b) for a in sorted(edges) for b in sorted(edges[a])]
    drawn.sort(key=lambda pair: (boxes[pair[0]].y, abs(boxes[pair[1]].middle - boxes[pair[0]].middle), pair))
    between = _ways(rows, boxes, drawn)
    paths = []
    for pair in drawn:
        a, b = pair
        ways = between[pair]
        start = _port(boxes[a], pair, {p: [*between[p], (boxes[p[1]].middle, 0.0)][0][0] for p in drawn if p[0] == a})
        end = _port(boxes[b], pair, {p: [(boxes[p[0]].middle, 0.0), *between[p]][-1][0] for p in drawn if p[1] == b})
        if boxes[a].width > 600 or boxes[b].width > 600:
            start = end = min(boxes[a], boxes[b], key=lambda box: box.width).middle
        paths.append(_path([(start, boxes[a].y + boxes[a].height), *ways, (end, boxes[b].y - 6)]))
    return paths


Pair = tuple[str, str]
"""(importer, imported)."""


def _ways(rows: list[list[Room]], boxes: dict[str, Box], drawn: list[Pair]) -> dict[Pair, list[tuple[float, float]]]:
    """Where each arrow passes the rows between its ends."""
    rank = {room.name: number for number, row in enumerate(rows) for room in row}
    taken: dict[int, list[float]] = {}
    ways: dict[Pair, list[tuple[float, float]]] = {}
    for a, b in drawn:
        ways[a, b] = []
        if a not in rank or b not in rank:
            continue
        start, slope = boxes[a].middle, (boxes[b].middle - boxes[a].middle) / (rank[b] - rank[a])
        for number in range(rank[a] + 1, rank[b]):
            row = [boxes[room.name] for room in rows[number]]
            x = _free(start + slope * (number - rank[a]), row, taken.setdefault(number, []))
            ways[a, b] += [(x, row[0].y - 4), (x, row[0].y + row[0].height + 4)]
    return ways


def _port(box: Box, pair: Pair, others: Mapping[Pair, float]) -> float:
    """Where on its edge an arrow leaves or meets a room: in the order of where the arrows go or come from."""
    order = sorted(others, key=lambda p: (others[p], p))
    return box.x + box.width * (order.index(pair) + 1) / (len(order) + 1)


def _free(x: float, row: list[Box], taken: list[float]) -> float:
    """The place nearest to `x` that is in no room of the row and on no other arrow."""
    candidates = sorted((x + step * sign for step in range(0, 700, 2) for sign in (1, -1)), key=lambda c: abs(c - x))
    for candidate in candidates:
        clear = all(not box.x - 9 < candidate < box.x + box.width + 9 for box in row)
        if clear and all(abs(candidate - other) >= 10 for other in taken):
            taken.append(candidate)
            return candidate
    raise ValueError("no place for an arrow")


def _path(points: list[tuple[float, float]]) -> str:
    text = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        half = (y0 + y1) / 2
        text += f"V{y1:.0f}" if abs(x0 - x1) < 1 else f"C{x0:.0f} {half:.0f} {x1:.0f} {half:.0f} {x1:.0f} {y1:.0f}"
    return f'<path class="arrow" marker-end="url(#head)" d="{text}"/>'


def folders(name: str) -> str:
    """The folders in a room, for those where they are shown."""
    path = ROOT / "src" / "watchword" / name.replace(".", "/")
    return " ".join(sorted(f"{child.name}/" for child in path.iterdir() if (child / "__init__.py").is_file()))


def room_drawing(name: str, box: Box) -> list[str]:
    """A rectangle, its name, and what it does."""
    out = [_rectangle("room", box)]
    label, *notes = _lines(name)
    y = box.y + box.height / 2 - 8 * len(notes) + 4
    if box.height > 150:
        notes, y = [line for note in notes for line in wrapped(note, 13)], box.y + 40
    kind = "note" if name == BESIDE else "name"
    for text in (label, *notes):
        out.append(f'<text class="{kind}" x="{box.middle:.0f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>')
        y, kind = y + 16, "note"
    return out


def _rectangle(kind: str, box: Box) -> str:
    corners = 6 if kind == "room" else 10
    place = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}"'
    return f'<rect class="{kind}" {place} rx="{corners}"/>'


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, where words allow it."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width and not lines[-1].endswith("-"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def frame(kind: str, label: str, box: Box) -> list[str]:
    """The frame around rooms of one package."""
    return [
        _rectangle(kind, box),
        f'<text class="name" x="{box.x + 12:.0f}" y="{box.y + 20:.0f}">{label}</text>',
    ]


def drawing() -> str:
    """The whole picture. Raises `ValueError` when the code has no such picture."""
    rows, light = rows_of_rooms()
    rooms = [room for row in [*rows, *light] for room in row]
    edges = imports_between(rooms)
    check_down(rows, edges)
    check_down([[_room("cli")], [*(room for [room] in light), _room("server")], [_room("jose")]], of_packages(edges))
    boxes = place(rows, light)
    bottom = boxes["jose"].y + boxes["jose"].height + 20
    wings = [box for name, box in boxes.items() if _in_wings(name)]
    inner = Box(LEFT + 50, wings[0].y - 16, SERVER_WIDTH - 100, wings[-1].y + wings[-1].height + 30 - wings[0].y)
    top = boxes["server.serving"].y - 28
    outer = Box(LEFT, top, SERVER_WIDTH, boxes["jose"].y - 30 - top)
    body = [*frame("frame", "server/", outer), *frame("wings", "service/", inner)]
    body += arrows(rows, boxes, reduced(edges))
    body += [line for room in rooms for line in room_drawing(room.name, boxes[room.name])]
    return SVG.format(width=RIGHT + LEFT, height=round(bottom), style=STYLE, body="\n  ".join(body))


SVG: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="t"
  font-family="system-ui, sans-serif" font-size="13.5">
  <title id="t">Packages of Watchword and the direction of their imports: from the command line down to jose.</title>
  <!-- written by docs/draw_map.py -->
  <style>{style}
  </style>
  <defs>
    <marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
      <path class="head" d="M0 0 8 4 0 8z"/>
    </marker>
  </defs>
  <rect class="back" width="{width}" height="{height}" rx="10"/>
  {body}
</svg>
"""

if __name__ == "__main__":
    MAP.write_text(drawing())
