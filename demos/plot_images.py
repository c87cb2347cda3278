"""The picture of the image demos: reconstructions above their training images, and the null."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from style import save_figure

from kkt_ref.datasets.split import Split
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.scores import stretch

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
COLUMNS = 12


def headline(what: str, n: int, found: int, unseen: int) -> str:
    """What a method found, beside the null, as a title."""
    start = f"{what}: NCC ≥ 0.8 for {found} of {n} training images"
    return f"{start} and for {unseen} of {n} unseen images"


def show_image(ax: Axes, image: np.ndarray, split: Split) -> None:
    """Show one image, (d,) in [0, 1], without ticks."""
    pixels = np.clip(image.reshape(split.shape), 0, 1).transpose(1, 2, 0)  # (h, w, channels)
    ax.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])


def draw(
    split: Split,
    candidates: np.ndarray,
    blind: np.ndarray,
    title: str,
    path: Path,
    rows: int = 2,
) -> None:
    """Draw the best reconstructions above their training images, the null, and the blind choice.

    Parameters
    ----------
    split : Split
        The training images and the unseen images.
    candidates : array of shape (m, d)
        Matched one to one with the training images, and with the unseen images.
    blind : array of shape (m, d)
        The candidates in the order in which an attacker without data would show them.
    title : str
    path : Path
    rows : int
        Rows of pairs of a reconstruction and a training image.
    """
    shown = stretch(candidates + split.mean)  # (m, d)
    columns = min(COLUMNS, len(split.x))
    rows = min(rows, -(-len(split.x) // columns))
    heights = [1.0, 1.35] * (rows + 1) + [1.0]  # an image in inches, with its score below
    width, height = columns + 0.9, sum(heights) + 0.5
    figure = plt.figure(figsize=(width, height))
    figure.suptitle(title, x=0.01, y=1 - 0.1 / height, ha="left", va="top", fontsize=12)
    grid = figure.add_gridspec(
        len(heights),
        columns,
        height_ratios=heights,
        hspace=0.0,
        wspace=0.05,
        left=0.8 / width,
        right=1 - 0.1 / width,
        top=1 - 0.4 / height,
        bottom=0.1 / height,
    )

    def show(row: int, column: int, image: np.ndarray, score: float | None, name: str) -> None:
        ax = figure.add_subplot(grid[row, column], anchor="N")
        show_image(ax, image, split)
        if score is not None:
            ax.set_xlabel(f"NCC {score:.2f}", fontsize=9, labelpad=2)
        if column == 0:
            ax.set_ylabel(name, fontsize=9)

    def pairs(row: int, images: np.ndarray, count: int, names: tuple[str, str]) -> None:
        match = match_one_to_one(ncc_all_pairs(images, candidates))
        for place, image in enumerate(np.argsort(-match.score)[:count]):
            at, column = row + 2 * (place // columns), place % columns
            show(at, column, shown[match.candidate[image]], None, names[0])
            show(at + 1, column, images[image] + split.mean, match.score[image], names[1])

    pairs(0, split.x, rows * columns, ("recon-\nstruction", "training\nimage"))
    pairs(2 * rows, split.unseen_x, columns, ("nearest\ncandidate", "unseen\nimage"))
    for column, image in enumerate(stretch(blind[:columns] + split.mean)):
        show(len(heights) - 1, column, image, None, "chosen\nwithout\ndata")
    save_figure(figure, path)
