"""The parts that all demos share: options, images, clock, tables for machines, look of pictures.

The colours are those of Okabe and Ito, *Color Universal Design* (2008).  A curve or a group of
dots never differs from another by its colour alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kkt_ref._io import write_atomically
from kkt_ref.datasets.images import ImageSet, default_images
from kkt_ref.metrics import ROC, roc_curve

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
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


def path_to(*suffixes: str) -> Callable[[str], Path]:
    """Return the type of an option that names a file with one of these suffixes."""

    def check(text: str) -> Path:
        path = Path(text)
        if path.suffix not in suffixes:
            expected = ", ".join(suffixes)
            raise argparse.ArgumentTypeError(f"{text}: expected a name that ends in {expected}")
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: expected a file, but this is a folder")
        if not path.resolve().parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text}: its folder does not exist; create it first")
        return path

    return check


PICTURE = path_to(".png", ".pdf", ".svg")


def seed_number(text: str) -> int:
    """Type of the option `--seed`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected an integer >= 0")
    return int(text)


def demo_parser(name: str, what: str | None, *, images: bool = False) -> argparse.ArgumentParser:
    """Return a parser with the options that all demos have; ``what`` is the demo's docstring.

    The names of outputs are checked while the options are read: a name with another suffix, or in
    a folder that does not exist, ends the program with exit status 2 before any work is done.
    """
    parser = argparse.ArgumentParser(description=str(what).split("\n")[0])
    add = parser.add_argument
    if images:
        add("--images", choices=tuple(TITLES), default="mnist", help="which images to use")
    add("--seed", type=seed_number, default=0, help="seed of all random numbers")
    add("--quick", action="store_true", help="a small and short run, to see that it works")
    add("--save", type=PICTURE, default=f"{name}.png", help="the picture (default: %(default)s)")
    add("--json", type=path_to(".json"), help="also write the numbers to this JSON file")
    return parser


def read_images(
    parser: argparse.ArgumentParser, name: str, folder: Path | None = None
) -> tuple[ImageSet, bool]:
    """Return the images, and whether they are the few that the package contains."""
    try:
        images = default_images(name, folder)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return images, name == "cifar10" and images.source.startswith("embedded")


class Clock:
    """Prints what is being done, with the seconds since the start."""

    def __init__(self) -> None:
        self.start = self.said = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self.start

    def say(self, text: str, *, pause: float = 0.0) -> None:
        """Print a line of progress, unless the line before is less than ``pause`` seconds old."""
        if time.perf_counter() - self.said >= pause:
            print(f"[{self.seconds:5.1f} s] {text}", flush=True)
            self.said = time.perf_counter()


def write_json(path: Path | None, table: Any) -> None:
    """Write the table to this file, or do nothing if there is none."""
    if path is not None:
        with write_atomically(path) as file:
            file.write((json.dumps(table, indent=2) + "\n").encode())


def curve(number: int) -> dict[str, Any]:
    """Colour, line style and marker of the curve with this number, for `Axes.plot`."""
    k = number % len(COLOURS)
    return {"color": COLOURS[k], "linestyle": LINES[k], "marker": MARKERS[k]}


def draw_roc(ax: Axes, scores: dict[str, Any], null: Any = (), label: str = "") -> None:
    """Draw the ROC curve of each pair (members, others), and in grey those of the null."""
    least = 0.5 / len(next(iter(scores.values()))[1])

    def step(members: np.ndarray, others: np.ndarray, **style: Any) -> None:
        fpr, tpr = roc_curve(members, others)
        ax.step(np.maximum(fpr, least), tpr, where="post", **style)

    for number, (name, pair) in enumerate(scores.items()):
        style = curve(number) | {"marker": ""}
        if null:
            grey = {"color": GREY, "lw": 1.0, "label": "" if number else label}
            step(*null[name], **style | grey)
        step(*pair, **style, lw=2.2, label=name)
    line = np.geomspace(least, 1, 50)
    ax.plot(line, line, color=GREY, lw=0.8, ls=":", label="chance")
    ax.set(xscale="log", yscale="log", xlim=(least, 1.05), ylim=(least, 1.3))
    ax.set(xlabel="false positive rate (unseen images)", ylabel="true positive rate (training)")
    ax.grid(True)


def roc_table(result: ROC) -> dict[str, Any]:
    """The ROC figures without the p-values."""
    return {name: value for name, value in result._asdict().items() if name != "p_values"}


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure in the format of its suffix, whole or not at all, and close it."""
    with write_atomically(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=130, **options)
    plt.close(figure)
