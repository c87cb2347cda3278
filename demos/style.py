"""The look of all pictures: colours, line styles and markers that colour-blind readers can tell.

The colours are those of Okabe and Ito, *Color Universal Design* (2008).  A curve or a group of
dots never differs from another by its colour alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from kkt_ref._io import write_atomically

BLACK, GREY = "#000000", "#767676"
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "+++")
POSITIVE, NEGATIVE = VERMILLION, BLUE  # of the two classes

plt.rcParams.update(
    {
        "font.size": 13,
        "axes.titlesize": 14,
        "axes.labelsize": 13,
        "legend.fontsize": 12,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "lines.markersize": 5,
        "grid.alpha": 0.3,
    }
)


def curve(number: int) -> dict[str, Any]:
    """Colour, line style and marker of the curve with this number, for `Axes.plot`."""
    k = number % len(COLOURS)
    return {"color": COLOURS[k], "linestyle": LINES[k], "marker": MARKERS[k]}


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure in the format of its suffix, whole or not at all, and close it."""
    with write_atomically(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=130, **options)
    plt.close(figure)
