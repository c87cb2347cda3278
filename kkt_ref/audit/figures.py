"""The pictures of an audit as PNG bytes, without pyplot's state."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kkt_ref.attacks.base import Reconstruction
from kkt_ref.metrics.ncc import unit_images
from kkt_ref.metrics.scores import Shape, stretch
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

COLUMNS = 12
LINE_COLUMNS = 4
POSITIVE, NEGATIVE, TRUTH = "#c0392b", "#2456a4", "#111111"


class Display(NamedTuple):
    """How to show samples."""

    shape: Shape | None  # channels, height, width; None: as lines
    mean: np.ndarray | None = None  # (d,), added to pictures
    norm: float | None = None  # what candidates are scaled to first: that of the data


def rows_figure(
    display: Display,
    candidates: np.ndarray,
    samples: np.ndarray | None = None,
    *,
    captions: list[str],
    names: tuple[str, str] = ("candidate", "training\nsample"),
) -> bytes:
    """Draw candidates, each above (or, as a line, over) the sample it matches.

    Parameters
    ----------
    display : Display
    candidates : array of shape (k, d)
    samples : array of shape (k, d), optional
    captions : list of k str
    names : (str, str)
        Of candidates and samples.

    Returns
    -------
    bytes
        A PNG image.
    """
    if display.shape is None:
        return _lines(candidates, samples, captions, names)
    channels, height, width = display.shape
    columns, groups = min(COLUMNS, len(candidates)), -(-len(candidates) // COLUMNS)
    size = min(max(height / width, 0.4), 2.5)  # of a cell, its width being 1
    rows_each, gap = (1 if samples is None else 2), 0.2 + 0.12 * captions[0].count("\n")
    heights = (rows_each * [size] + [gap]) * groups
    figure = Figure(figsize=(columns + 1, sum(heights) + 0.1))
    grid = figure.add_gridspec(
        len(heights), columns, height_ratios=heights, hspace=0.05, wspace=0.06,
        left=1 / (columns + 1), right=0.995, top=0.99, bottom=0.01,
    )  # fmt: skip
    rows = [_pictures(candidates, display, scale=True)]
    if samples is not None:
        rows.append(_pictures(samples, display, scale=False))
    for place in range(len(candidates)):
        group, column = divmod(place, COLUMNS)
        for row, pictures in enumerate(rows):
            ax = figure.add_subplot(grid[group * (len(rows) + 1) + row, column])
            ax.imshow(
                pictures[place],
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="nearest",
                aspect="equal",
            )
            ax.set(xticks=[], yticks=[])
            if column == 0:
                ax.set_ylabel(names[row], fontsize=8)
            if row == len(rows) - 1:
                ax.set_xlabel(captions[place], fontsize=8, labelpad=2)
    return _png(figure)


def plane_figure(
    net: MLP,
    found: Reconstruction,
    box: tuple[float, float],
    data: tuple[np.ndarray, np.ndarray] | None,
) -> bytes:
    """Draw candidates in the plane over Φ, with the training points circled.

    Parameters
    ----------
    net : MLP
        d = 2.
    found : Reconstruction
    box : (float, float)
    data : (array of shape (n, 2), array of shape (n,)), optional
        Training points and labels.

    Returns
    -------
    bytes
        A PNG image.
    """
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    ax = figure.add_subplot()
    ticks = np.linspace(*box, 300)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (90000, 2)
    outputs = closed_form.forward(net.astype(np.float64), grid).outputs.reshape(300, 300)
    top = max(float(np.abs(outputs).max()), 1e-300)
    ax.contourf(ticks, ticks, outputs, levels=np.linspace(-top, top, 24), cmap="RdBu_r", alpha=0.45)
    if outputs.min() < 0 < outputs.max():
        ax.contour(ticks, ticks, outputs, levels=[0], colors="#666666", linewidths=0.8)
    if data is not None:
        x, y = data
        for label, colour in ((1, POSITIVE), (-1, NEGATIVE)):
            ax.scatter(*x[y == label].T, s=140, facecolors="none", edgecolors=TRUTH, linewidths=1.2)
            ax.scatter(*x[y == label].T, s=260, facecolors="none", edgecolors=colour)
    if len(found.labels):
        area = 15 + 60 * found.multipliers / found.multipliers.max()
        colours = np.where(found.labels > 0, POSITIVE, NEGATIVE)
        ax.scatter(*found.candidates.T, s=area, c=colours, edgecolors="white", linewidths=0.6)
    ax.set(xlim=box, ylim=box, aspect="equal", xlabel="x1", ylabel="x2")
    return _png(figure)


def margin_figure(margins: np.ndarray, score: np.ndarray, held_out: np.ndarray | None) -> bytes:
    """Draw how well each training sample came back over its margin.

    Parameters
    ----------
    margins : array of shape (n,)
    score : array of shape (n,)
        NCC; -inf where a sample has no candidate.
    held_out : array of shape (n,), optional
        The same of samples never trained on, of which 95% lie below a line.

    Returns
    -------
    bytes
        A PNG image.
    """
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    ax = figure.add_subplot()
    matched = np.isfinite(score)
    ax.scatter(margins[matched], score[matched], s=18, c=POSITIVE, label="training samples")
    if held_out is not None and np.isfinite(held_out).any():
        level = float(np.quantile(held_out[np.isfinite(held_out)], 0.95))
        ax.axhline(level, color="#666666", ls="--", lw=1, label="95% of held-out samples below")
    ax.set(xlabel="margin", ylabel="NCC of the best candidate", ylim=(None, 1.02))
    ax.legend(frameon=False, fontsize=8)
    _frame(ax)
    return _png(figure)


def _lines(
    candidates: np.ndarray, samples: np.ndarray | None, captions: list[str], names: tuple[str, str]
) -> bytes:
    columns = min(LINE_COLUMNS, len(candidates))
    rows = -(-len(candidates) // columns)
    figure = Figure(figsize=(3.2 * columns, 1.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    inputs = np.arange(1, candidates.shape[1] + 1)
    scale = np.sqrt(candidates.shape[1])
    marker = "." if len(inputs) <= 60 else None
    above, below = (_standardised(v, scale) for v in (candidates, samples))
    for place, ax in enumerate(axes.flat):
        if place >= len(candidates):
            ax.set_visible(False)
            continue
        if below is not None:
            ax.plot(
                inputs, below[place], color="#999999", lw=2.5, label=names[1].replace("\n", " ")
            )
        ax.plot(inputs, above[place], color=POSITIVE, lw=1, marker=marker, label=names[0])
        ax.set_title(captions[place], fontsize=8)
        ax.tick_params(labelsize=7)
        _frame(ax)
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.supxlabel("input", fontsize=8)
    figure.supylabel("standardised value", fontsize=8)
    return _png(figure)


def _standardised(values: np.ndarray | None, scale: float) -> np.ndarray | None:
    return None if values is None else unit_images(np.float64(values)) * scale


def _frame(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _pictures(flat: np.ndarray, display: Display, *, scale: bool) -> np.ndarray:
    """Pictures (k, H, W) or (k, H, W, 3) in [0, 1]."""
    assert display.shape is not None
    flat = np.float64(flat)
    if scale and display.norm is not None:
        lengths = np.linalg.norm(flat, axis=1, keepdims=True)
        flat = flat * (display.norm / np.maximum(lengths, 1e-300))
    if display.mean is not None:
        flat = flat + display.mean
    pixels = stretch(flat).reshape(len(flat), *display.shape)
    return pixels[:, 0] if display.shape[0] == 1 else pixels.transpose(0, 2, 3, 1)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
