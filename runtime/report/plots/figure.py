"""What all plots share: the palette, the style, and the way to SVG that a page can hold inline.

Text and lines are drawn in stand-in colours that become the page's own variables, so that a plot is
as readable on a dark page as on a light one. Nothing of pyplot is used: no state stays behind.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, PANEL = "#010203", "#040506", "#070809", "#0a0b0c"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", PANEL: "var(--panel)"}

LIGHT = {"--ink": "#1d2125", "--muted": "#626a73", "--rule": "#e1dfd8", "--panel": "#f4f3ef"}
"""The page's colours on a light ground, for a plot that stands alone."""

ACCENT = "#1b8a8f"
BLUE, ORANGE = "#3f7fc1", "#d1622b"
PALETTE = ("#6152ad", "#ef947b", ACCENT, "#a0820f", "#a33f38", "#a79cf5")
"""Colours that differ by 27 or more (CIE 1976) also to protanopes, deuteranopes and tritanopes, and
stand out from a light page as from a dark one."""

HALF_WIDTH = 400
"""Of a plot that stands in one of the page's two columns, in pixels."""

_TEXT = 10.5
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spikeloom",
    "svg.image_inline": True,
    "image.composite_image": False,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": _TEXT,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 1,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "grid.color": RULE,
    "grid.linewidth": 1,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}
_POINTS_PER_INCH = 72
_LONGEST_LABEL = 26


def draw(name: str, about: str, width: float, height: float, paint: Callable[[Figure], None]) -> str:
    """Paint a figure and return it as an SVG element.

    Args:
        name: of the plot, unique on the page, of letters and hyphens.
        about: what it shows, for those who cannot see it.
        width: in pixels.
        height: in pixels.
        paint: draws on the figure; one point is one pixel.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # a name may be in a script that the measuring font lacks; the reader's font draws it
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure = Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH), dpi=_POINTS_PER_INCH)
        paint(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(buffer.getvalue(), name, about)


def panel(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes whose edges are so many pixels from those of the figure."""
    width, height = (float(side) * _POINTS_PER_INCH for side in figure.get_size_inches())
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )


def tinted(values: NDArray[Any], colour: str = ACCENT) -> NDArray[np.float64]:
    """Values 0 to 1 [...] as RGBA [..., 4]: one colour, the more opaque the larger the value."""
    from matplotlib.colors import to_rgb

    image = np.empty((*values.shape, 4))
    image[..., :3] = to_rgb(colour)
    image[..., 3] = np.clip(values, 0, 1)
    return image


def ramp(count: int) -> list[str]:
    """Colours in an order that can be seen, told apart with any colour vision."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.08 + 0.84 * index / max(count - 1, 1))) for index in range(count)]


def is_dark(colour: str) -> bool:
    """Whether white is read better on a colour than black (relative luminance, WCAG 2.1)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.179


def shortened(name: str) -> str:
    """A name that fits beside a plot: the beginning of a long one is left out.

    >>> shortened("patch_embed.positional_encoding.neuron"), shortened("head")
    ('…ositional_encoding.neuron', 'head')
    """
    return name if len(name) <= _LONGEST_LABEL else f"…{name[1 - _LONGEST_LABEL :]}"


def standalone(svg: str) -> str:
    """An SVG element of :func:`draw` as a file of its own, on white.

    >>> standalone('<svg class="plot" viewBox="0 0 1 1"><g style="fill: var(--ink)"/></svg>')
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><rect .../><g style="fill: #1d2125"/></svg>'
    """
    opening, rest = svg.split(">", 1)
    opening = opening.replace('<svg class="plot"', '<svg xmlns="http://www.w3.org/2000/svg"')
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    for variable, colour in LIGHT.items():
        rest = rest.replace(f"var({variable})", colour)
    return f"{opening}>{ground}{rest}"


def _inline(svg: str, name: str, about: str) -> str:
    """An SVG document as an element of a page: no prologue, no names that two plots could share."""
    body = svg[svg.index("<svg") :]
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    assert box is not None
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    rest = re.sub(r"<!--.*?-->\n?", "", rest, flags=re.DOTALL)
    rest = rest.replace("xlink:href=", "href=")
    rest = _own_names(rest, name)
    for stand_in, variable in VARIABLES.items():
        rest = rest.replace(stand_in, variable)
    label = about.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg class="plot" role="img" aria-label="{label}" {box[0]}>{rest.strip()}'


def _own_names(svg: str, name: str) -> str:
    used = set(re.findall(r"url\(#([\w-]+)\)", svg)) | set(re.findall(r'href="#([\w-]+)"', svg))

    def rename(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([\w.-]+)"', rename, svg)
    svg = re.sub(r"url\(#([\w-]+)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r'href="#([\w-]+)"', rf'href="#{name}-\1"', svg)
