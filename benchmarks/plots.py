"""Three kinds of plots as SVG, small enough to be read as text."""

from collections.abc import Callable, Sequence
from math import log10

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 300, 64, 44, 34
GREEN, GREY = "#2a7d4f", "#9aa5ab"
COLOURS = ("#b5523b", GREEN, "#3b6fb5", GREY)


def curve(title: str, unit: str, points: Sequence[tuple[float, float, float, float]]) -> str:
    """Points (x, median, least, greatest) over a logarithmic x; y begins at 0."""
    least, most = log10(points[0][0]), log10(points[-1][0])
    top = max(point[3] for point in points) * 1.15

    def x(value: float) -> float:
        return LEFT + (log10(value) - least) / max(most - least, 1e-9) * (WIDTH - LEFT - 60) + 20

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)

    body = _grid(top, y, unit)
    body.append(_polyline([(x(point[0]), y(point[1])) for point in points]))
    for at, middle, low, high in points:
        body.append(f'<path d="M{x(at):.1f} {y(low):.1f}V{y(high):.1f}" stroke="{GREEN}"/>')
        body.append(f'<circle cx="{x(at):.1f}" cy="{y(middle):.1f}" r="4" fill="{GREEN}"/>')
        body.append(_text(x(at), y(high) - 8, f"{middle:,.1f}", "middle"))
        body.append(_text(x(at), HEIGHT - BOTTOM + 18, f"{at:,.0f}", "middle"))
    return _svg(title, body, HEIGHT)


def bars(title: str, unit: str, rows: Sequence[tuple[str, float]]) -> str:
    """A bar for each; the first is ours. What is more than five times the second one is cut off, and says so."""
    longest = min(max(value for _, value in rows), 5 * sorted(value for _, value in rows)[len(rows) // 2])
    body = []
    for number, (name, value) in enumerate(rows):
        at = TOP + 12 + number * 28
        width = min(value, longest) / longest * (WIDTH - 260)
        body.append(_text(110, at + 15, name, "end"))
        body.append(
            f'<rect x="120" y="{at}" width="{width:.1f}" height="20" rx="2" fill="{GREY if number else GREEN}"/>'
        )
        more = " (bar cut off)" if value > longest else ""
        body.append(_text(128 + width, at + 15, f"{value:,.1f} {unit}{more}", "start"))
    return _svg(title, body, TOP + 24 + 28 * len(rows))


def stacked(title: str, unit: str, parts: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """A bar for each row, of as many parts as there are names for; their sum stands behind it."""
    longest = max(sum(values) for _, values in rows)
    body = []
    for number, (part, colour) in enumerate(zip(parts, COLOURS, strict=False)):
        body.append(f'<rect x="{140 + number * 130}" y="{TOP}" width="12" height="12" fill="{colour}"/>')
        body.append(_text(158 + number * 130, TOP + 11, part, "start"))
    for number, (name, values) in enumerate(rows):
        at, left = TOP + 28 + number * 28, 140.0
        body.append(_text(130, at + 15, name, "end"))
        for value, colour in zip(values, COLOURS, strict=False):
            width = value / longest * (WIDTH - 260)
            body.append(f'<rect x="{left:.1f}" y="{at}" width="{width:.1f}" height="20" fill="{colour}"/>')
            left += width
        body.append(_text(left + 8, at + 15, f"{sum(values):,.1f} {unit}", "start"))
    return _svg(title, body, TOP + 40 + 28 * len(rows))


def nothing() -> str:
    """Where there are no results."""
    return _svg("not measured", [], TOP)


def _grid(top: float, y: Callable[[float], float], unit: str) -> list[str]:
    lines = []
    for part in range(5):
        value = top * part / 4
        lines.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        lines.append(_text(LEFT - 8, y(value) + 4, f"{value:,.0f}", "end"))
    return [*lines, _text(LEFT - 8, TOP - 2, unit, "end")]


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{way}" fill="none" stroke="{GREEN}" stroke-width="2"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _svg(title: str, body: Sequence[str], height: float) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    paper = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>'
    return "\n".join(
        [f"{head}{style}>", f"<title>{title}</title>", paper, _text(16, 20, title, "start"), *body, "</svg>\n"]
    )
