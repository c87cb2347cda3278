"""The figure of the image demos: reconstructions above their training images, and the null."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from style import save_figure

from kkt_ref.datasets.split import BinarySplit
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.scores import stretch

COLUMNS = 12


def show_image(ax: Axes, image: np.ndarray, split: BinarySplit) -> None:
    """Show one image, (d,) in [0, 1], without ticks."""
    pixels = np.clip(image.reshape(split.shape), 0, 1).transpose(1, 2, 0)  # (h, w, channels)
    ax.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])


def draw(
    split: BinarySplit,
    candidates: np.ndarray,
    blind: np.ndarray,
    title: str,
    path: Path,
    rows: int = 2,
) -> None:
    """Save the figure.

    Parameters
    ----------
    split : BinarySplit
    candidates : array of shape (m, d)
        Matched one to one with the training images, and with the unseen ones.
    blind : array of shape (m, d)
        The candidates in the order in which an attacker without data would show them.
    title : str
    path : Path
    rows : int
        Rows of pairs of reconstruction and training image.
    """
    shown = stretch(candidates + split.mean)  # (m, d)
    data = match_one_to_one(ncc_all_pairs(split.x, candidates))
    null = match_one_to_one(ncc_all_pairs(split.unseen_x, candidates))
    pairs = min(rows * COLUMNS, len(split.x))
    rows = -(-pairs // COLUMNS)
    heights = [1.0, 1.3] * rows + [0.1, 1.0, 1.3, 0.1, 1.0]
    columns = min(COLUMNS, len(split.x))
    figure = plt.figure(figsize=(columns + 1, sum(heights) + 0.4))
    top = 1 - 0.4 / (sum(heights) + 0.4)
    grid = figure.add_gridspec(
        len(heights), columns, height_ratios=heights, hspace=0.03, wspace=0.05, top=top, bottom=0.0
    )
    figure.suptitle(title, x=0.12, y=top + 0.02, ha="left", va="bottom", fontsize=11)

    def show(row: int, column: int, image: np.ndarray, label: str = "") -> Axes:
        ax = figure.add_subplot(grid[row, column], anchor="N")
        show_image(ax, image, split)
        if label:
            ax.set_xlabel(label, fontsize=8, labelpad=2)
        return ax

    best = np.argsort(-data.score)[:pairs]
    for place, image in enumerate(best):
        row, column = 2 * (place // COLUMNS), place % COLUMNS
        above = show(row, column, shown[data.candidate[image]])
        below = show(row + 1, column, split.x[image] + split.mean, f"{data.score[image]:.2f}")
        if column == 0:
            above.set_ylabel("recon-\nstruction", fontsize=8)
            below.set_ylabel("training\nimage", fontsize=8)
    row = 2 * rows + 1
    best = np.argsort(-null.score)[: min(columns, len(split.unseen_x))]
    for column, image in enumerate(best):
        above = show(row, column, shown[null.candidate[image]])
        below = show(
            row + 1, column, split.unseen_x[image] + split.mean, f"{null.score[image]:.2f}"
        )
        if column == 0:
            above.set_ylabel("nearest\ncandidate", fontsize=8)
            below.set_ylabel("never\ntrained on", fontsize=8)
    for column, candidate in enumerate(stretch(blind[:columns] + split.mean)):
        ax = show(row + 3, column, candidate)
        if column == 0:
            ax.set_ylabel("ranked\nwithout data", fontsize=8)
    save_figure(figure, path, bbox_inches="tight")
