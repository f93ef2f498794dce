#!/usr/bin/env python3
"""Draws the curves of the benches, from what they wrote with --csv.

usage: benches/plot.py CURVES.csv [DIRECTORY]      (by default docs/plots)

All axes are logarithmic. The pictures have no background and grey text, so that they can be read on
light and on dark pages. Python's standard library is all that is needed.
"""

import csv
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 72, 210, 44, 56
GREY = "#808080"
# Told apart on white and on black, and by those who see no red or no green.
COLOURS = ["#2f86d6", "#e0762b", "#2a9d6f", "#c65b9a", "#9a7fd1", "#b08d2e"]
MARKS = ["circle", "square", "diamond", "triangle"]

# file, title, x title, y title, and the lines: (curve, series, shown as, dashed).
PLOTS = [
    *(
        (
            f"log-size-{size}.svg",
            f"Cost of a record of {shown} as the log grows",
            "size of the log",
            "ns per record",
                [
                (f"size {size} B", "append", "append, page cache", False),
                (f"size {size} B", "plain write", "plain write", True),
                (f"size {size} B", "read the newest", "read the newest", False),
                (f"size {size} B", "read at a random place", "read at a random place", False),
                (f"size {size} B", "plain read at a random place", "plain read there", True),
            ],
        )
        for size, shown in [(100, "100 B"), (1024, "1 KiB")]
    ),
    (
        "partitions.svg",
        "Cost of a record of 100 B as partitions grow",
        "partitions",
        "ns per record",
        [
            ("spread", "64 in a row", "64 in a row to each", False),
            ("spread", "one by one", "one by one to each", False),
            ("spread", "plain one by one", "one by one, plain files", True),
        ],
    ),
    (
        "partition-files.svg",
        "Many partitions: time of each, one record in it",
        "partitions",
        "µs per partition",
        [
            ("partitions", "create", "create", False),
            ("partitions", "first send", "first send", False),
            ("partitions", "close", "close", False),
            ("partitions", "open", "open", False),
            ("partitions", "plain files synced", "plain files, synced", True),
        ],
    ),
    (
        "durable.svg",
        "Records of 100 B on disk before their thread goes on",
        "threads",
        "records/s",
        [
            ("durable", "send and wait", "send and wait", False),
            ("durable", "write + fdatasync growing", "plain, growing file", True),
            ("durable", "write + fdatasync zero-filled", "plain, zero-filled file", True),
        ],
    ),
    (
        "group-members.svg",
        "One member of a group leaves: rebalance over its size",
        "members that stay",
        "ms until all is assigned",
        [
            ("leave over members", f"{count} partitions", f"{count:,} partitions", False)
            for count in [10, 100, 1000, 10_000]
        ],
    ),
    (
        "group-partitions.svg",
        "One member of a group leaves: rebalance over partitions",
        "partitions",
        "ms until all is assigned",
        [
            ("leave over partitions", f"{count} members", f"{count:,} members", False)
            for count in [10, 100, 1000]
        ],
    ),
    (
        "latency.svg",
        "Latency at 100,000 records/s, 100 B, from the moment due",
        "percentile",
        "µs",
        [
            ("latency", "send at 100000/s", "send", False),
            ("latency", "send and wait at 100000/s", "send and wait", False),
            ("latency", "channel no log at 100000/s", "channel, no log", True),
        ],
    ),
]


def read(path):
    """The points of each series; of a point that was measured twice, the later."""
    lines = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            points = lines.setdefault((row["curve"], row["series"]), {})
            points[float(row["x"])] = float(row["y"])
    return {name: sorted(points.items()) for name, points in lines.items()}


def short(value):
    """A number of few characters."""
    for limit, unit in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def size_label(mib):
    return f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib:g} MiB"


def percentile_label(place):
    return f"p{100 - 100 / place:.6g}"


def log_ticks(bottom, top):
    if top / bottom < 100:
        every = [part * 10.0**power for power in range(-9, 12) for part in (1, 2, 5)]
        first = max(place for place, tick in enumerate(every) if tick <= bottom)
        last = min(place for place, tick in enumerate(every) if tick >= top)
        return every[first : max(last, first + 1) + 1]
    ticks = [10.0**power for power in range(math.floor(math.log10(bottom)), math.ceil(math.log10(top)) + 1)]
    return ticks if len(ticks) > 1 else [ticks[0], ticks[0] * 10]


def mark(kind, x, y, colour):
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}"/>'
    corners = {
        "square": [(-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)],
        "diamond": [(0, -4.8), (4.8, 0), (0, 4.8), (-4.8, 0)],
        "triangle": [(0, -4.6), (4.4, 3.6), (-4.4, 3.6)],
    }[kind]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'


def spread_out(wanted, gap, low, high):
    """Heights for labels near the wanted ones, in order and not upon each other."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    heights, last = [0.0] * len(wanted), low - gap
    for place in order:
        last = heights[place] = max(wanted[place], last + gap)
    last = high + gap
    for place in reversed(order):
        last = heights[place] = min(heights[place], last - gap)
    return heights


def draw(lines, title, x_title, y_title):
    xs = sorted({x for _, points, _, _ in lines for x, _ in points})
    ys = [y for _, points, _, _ in lines for _, y in points]
    ticks = log_ticks(min(ys), max(ys))
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    first, last = math.log(xs[0]), math.log(xs[-1])

    def place_x(x):
        return LEFT + 12 + (math.log(x) - first) / ((last - first) or 1) * (right - LEFT - 24)

    def place_y(y):
        return bottom - (math.log10(y) - low) / (high - low) * (bottom - TOP)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui,sans-serif" font-size="13" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="22" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    for tick in ticks:
        y = place_y(tick)
        out.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="{GREY}" stroke-opacity=".3"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{short(tick)}</text>')
    label = {"size of the log": size_label, "percentile": percentile_label}.get(x_title, short)
    # From the right, since the last place is the one to be read.
    free = math.inf
    for x in reversed(xs):
        at, shown = place_x(x), label(x)
        out.append(f'<path d="M{at:.1f} {bottom}v5" stroke="{GREY}"/>')
        half = len(shown) * 3.6
        if at + half < free:
            out.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{shown}</text>')
            free = at - half - 6
    out.append(f'<path d="M{LEFT} {bottom}H{right}" stroke="{GREY}"/>')
    middle = (LEFT + right) / 2
    out.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_title)}</text>')
    middle = (TOP + bottom) / 2
    out.append(
        f'<text transform="translate(18 {middle})rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    # A line that ends early has its name beside its end, the others theirs in a column.
    in_column = [dashed or points[-1][0] == xs[-1] for _, points, dashed, _ in lines]
    ends = [place_y(points[-1][1]) for (_, points, _, _), there in zip(lines, in_column) if there]
    heights = iter(spread_out(ends, 17, TOP, bottom))
    for number, (shown, points, dashed, colour) in enumerate(lines):
        places = [(place_x(x), place_y(y)) for x, y in points]
        if dashed and len(places) == 1:
            # What has no x of its own is a line across.
            y = places[0][1]
            places = [(LEFT + 12, y), (right - 12, y)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not dashed:
            out.extend(mark(MARKS[number % len(MARKS)], x, y, colour) for x, y in places)
        x, y = places[-1]
        if not in_column[number]:
            out.append(f'<text x="{x + 9:.1f}" y="{y + 4.5:.1f}" fill="{colour}">{escape(shown)}</text>')
            continue
        height = next(heights)
        leader = f"M{x + 7:.1f} {y:.1f}L{right + 8} {height:.1f}"
        out.append(f'<path d="{leader}" stroke="{colour}" stroke-opacity=".6" fill="none"/>')
        out.append(f'<text x="{right + 12}" y="{height + 4.5:.1f}" fill="{colour}">{escape(shown)}</text>')
    out.append("</svg>\n")
    return "\n".join(out)


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    root = Path(__file__).resolve().parent.parent
    into = Path(sys.argv[2]) if len(sys.argv) == 3 else root / "docs" / "plots"
    measured = read(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    for name, title, x_title, y_title, wanted in PLOTS:
        lines = []
        for curve, series, shown, dashed in wanted:
            points = measured.get((curve, series), [])
            if curve == "latency":
                # The more nines, the further to the right; the maximum has no place there.
                points = [(100 / (100 - x), y) for x, y in points if x < 100]
            points = [(x, y) for x, y in points if y > 0]
            if len(points) > 1 or (points and dashed):
                lines.append((shown, points, dashed, None))
        if not any(len(points) > 1 for _, points, _, _ in lines):
            print(f"{name}: not measured")
            continue
        colours = iter(COLOURS)
        lines = [(shown, points, dashed, GREY if dashed else next(colours)) for shown, points, dashed, _ in lines]
        text = draw(lines, title, x_title, y_title)
        (into / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text.encode()) / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
