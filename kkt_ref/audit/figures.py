"""The pictures of an audit as PNG bytes, drawn without pyplot.

The colours are those of Okabe and Ito, *Color Universal Design* (2008); markers and line
styles differ too.  Names of dimensions: n samples, k candidates shown, d inputs.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.pooling import distinct
from kkt_ref.audit.inputs import Samples
from kkt_ref.audit.run import Audit, Comparison
from kkt_ref.metrics.ncc import unit_images
from kkt_ref.metrics.scores import Shape, stretch
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

COLUMNS, LINE_COLUMNS = 12, 4
SHOWN, SHOWN_HELD_OUT = 24, 12
BLACK, GREY, BLUE, VERMILLION = "#000000", "#767676", "#0072B2", "#D55E00"
CLASSES = ((1, "+1", VERMILLION, "o"), (-1, "−1", BLUE, "s"))  # label, its text, colour, marker


class Picture(NamedTuple):
    """A picture of the report."""

    name: str  # of its file, without the suffix
    title: str
    caption: str
    png: bytes


class Display(NamedTuple):
    """How to show samples."""

    shape: Shape | None  # channels, height, width; None shows them as lines
    mean: np.ndarray | None  # (d,), added to the pixels
    norm: float | None  # candidates are scaled to this norm first


def draw_pictures(
    audit: Audit, shape: Shape | None, data: Samples | None, held_out: Samples | None
) -> list[Picture]:
    """Draw all pictures of a finished audit; ``shape`` is that of the samples as images."""
    assert audit.attack is not None
    found = audit.attack.reconstruction
    if audit.weights.net.d == 2:
        return [_plane_picture(audit, data)]
    if not len(found.labels):
        return []
    norm = None if data is None else float(np.median(np.linalg.norm(data.x, axis=1)))
    display = Display(shape, None if data is None else data.mean, norm)
    pictures = []
    if audit.data is not None and data is not None:
        title = "Best candidates beside the training samples that they match"
        caption = "No candidate is used twice. The rows of --data are counted from 0."
        png = _matches(audit.data, data, found, display, SHOWN, "training\nsample")
        pictures.append(Picture("matches", title, caption, png))
    if audit.held_out is not None and held_out is not None:
        title = "The same candidates beside samples that the network never saw"
        caption = "These matches occur by chance."
        png = _matches(audit.held_out, held_out, found, display, SHOWN_HELD_OUT, "held-out\nsample")
        pictures.append(Picture("held_out", title, caption, png))
    pictures.append(_blind_picture(found, display))
    if audit.data is not None and audit.conditions is not None:
        held_out_scores = None if audit.held_out is None else audit.held_out.score
        png = _margin_figure(audit.conditions.margins, audit.data.score, held_out_scores)
        caption = "In theory only samples at the smallest margin have a multiplier > 0."
        title = "Which training samples are reconstructed"
        pictures.append(Picture("margins", title, caption, png))
    return pictures


def _plane_picture(audit: Audit, data: Samples | None) -> Picture:
    assert audit.attack is not None
    points = None if data is None or data.y is None else (data.x, data.y)
    found, box = audit.attack.reconstruction, audit.settings.box
    caption = (
        "The area of a candidate's marker grows with its multiplier. The background shows the "
        "network's output, which is zero on the grey line."
    )
    png = _plane_figure(audit.weights.net, found, box, points)
    return Picture("candidates", "Candidates in the plane", caption, png)


def _matches(
    comparison: Comparison,
    samples: Samples,
    found: Reconstruction,
    display: Display,
    shown: int,
    name: str,
) -> bytes:
    matched = np.flatnonzero(comparison.candidate >= 0)
    best = matched[np.argsort(-comparison.score[matched], kind="stable")[:shown]]
    return _pairs_figure(
        display,
        found.candidates[comparison.candidate[best]],
        samples.x[best],
        [f"NCC {comparison.score[row]:.2f}\nrow {row}" for row in best],
        ("candidate", name),
    )


def _blind_picture(found: Reconstruction, display: Display) -> Picture:
    first = distinct(found)[:SHOWN]
    rows = [int(np.argmax((found.candidates == candidate).all(axis=1))) for candidate in first]
    assert found.agreement is not None
    captions = [f"agreement {found.agreement[row]:.2f}" for row in rows]
    return Picture(
        "candidates",
        "What an attacker without any data would look at first",
        "The candidates are sorted by how well another start of the attack agrees with them; near "
        "copies are left out. A candidate may be the negative of a training sample.",
        _pairs_figure(display, first, None, captions, ("candidate", "")),
    )


def _pairs_figure(
    display: Display,
    candidates: np.ndarray,
    samples: np.ndarray | None,
    captions: list[str],
    names: tuple[str, str],
) -> bytes:
    """Draw candidates (k, d), each above (or, as a line, over) the sample that it matches."""
    if display.shape is None:
        return _lines_figure(candidates, samples, captions, names)
    _, height, width = display.shape
    columns, groups = min(COLUMNS, len(candidates)), -(-len(candidates) // COLUMNS)
    size = min(max(height / width, 0.4), 2.5)  # height of a cell of width 1
    rows_each, gap = (1 if samples is None else 2), 0.2 + 0.12 * captions[0].count("\n")
    heights = (rows_each * [size] + [gap]) * groups
    figure = Figure(figsize=(columns + 1, sum(heights) + 0.1))
    grid = figure.add_gridspec(
        len(heights), columns, height_ratios=heights, hspace=0.05, wspace=0.06,
        left=1 / (columns + 1), right=0.995, top=0.99, bottom=0.01,
    )  # fmt: skip
    rows = [_pixels(candidates, display, scale=True)]
    if samples is not None:
        rows.append(_pixels(samples, display, scale=False))
    for place in range(len(candidates)):
        group, column = divmod(place, COLUMNS)
        for row, pictures in enumerate(rows):
            ax = figure.add_subplot(grid[group * (len(rows) + 1) + row, column])
            ax.imshow(pictures[place], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            if column == 0:
                ax.set_ylabel(names[row], fontsize=8)
            if row == len(rows) - 1:
                ax.set_xlabel(captions[place], fontsize=8, labelpad=2)
    return _png(figure)


def _lines_figure(
    candidates: np.ndarray, samples: np.ndarray | None, captions: list[str], names: tuple[str, str]
) -> bytes:
    columns = min(LINE_COLUMNS, len(candidates))
    rows = -(-len(candidates) // columns)
    figure = Figure(figsize=(3.2 * columns, 1.7 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    inputs = np.arange(1, candidates.shape[1] + 1)
    scale = np.sqrt(candidates.shape[1])
    marker = "." if len(inputs) <= 60 else None
    for place, ax in enumerate(axes.flat):
        if place >= len(candidates):
            ax.set_visible(False)
            continue
        if samples is not None:
            sample = scale * unit_images(np.float64(samples[place : place + 1]))[0]
            label = names[1].replace("\n", " ")
            ax.plot(inputs, sample, color=BLUE, lw=2.5, ls="--", alpha=0.7, label=label)
        candidate = scale * unit_images(np.float64(candidates[place : place + 1]))[0]
        ax.plot(inputs, candidate, color=VERMILLION, lw=1, marker=marker, label=names[0])
        ax.set_title(captions[place], fontsize=8)
        ax.tick_params(labelsize=7)
        _frame(ax)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", fontsize=8)
    figure.supxlabel("index of the input", fontsize=8)
    figure.supylabel("standardised value", fontsize=8)
    return _png(figure)


def _plane_figure(
    net: MLP,
    found: Reconstruction,
    box: tuple[float, float],
    data: tuple[np.ndarray, np.ndarray] | None,
) -> bytes:
    """Draw candidates over the output Φ of the network, with the training points."""
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    ax = figure.add_subplot()
    ticks = np.linspace(*box, 300)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (90000, 2)
    outputs = closed_form.forward(net.astype(np.float64), grid).outputs.reshape(300, 300)
    top = max(float(np.abs(outputs).max()), 1e-300)
    ax.contourf(ticks, ticks, outputs, levels=np.linspace(-top, top, 24), cmap="RdBu_r", alpha=0.45)
    if outputs.min() < 0 < outputs.max():
        ax.contour(ticks, ticks, outputs, levels=[0], colors=GREY, linewidths=0.8)
    largest = found.multipliers.max() if len(found.labels) else 1.0
    for label, text, colour, marker in CLASSES:
        if data is not None:
            points = data[0][data[1] == label]
            ax.scatter(
                points[:, 0], points[:, 1], s=190, marker=marker, facecolors="none",
                edgecolors=BLACK, linewidths=1.2, label=f"training point, label {text}",
            )  # fmt: skip
        mine = found.labels == label
        points, area = found.candidates[mine], 15 + 60 * found.multipliers[mine] / largest
        ax.scatter(
            points[:, 0], points[:, 1], s=area, marker=marker, c=colour, edgecolors="white",
            linewidths=0.6, label=f"candidate, label {text}",
        )  # fmt: skip
    ax.set(xlim=box, ylim=box, aspect="equal", xlabel="input 1", ylabel="input 2")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return _png(figure)


def _margin_figure(margins: np.ndarray, score: np.ndarray, held_out: np.ndarray | None) -> bytes:
    """Draw the score of each training sample over its margin; both have shape (n,)."""
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    ax = figure.add_subplot()
    matched = np.isfinite(score)
    ax.scatter(margins[matched], score[matched], s=18, c=VERMILLION, label="training samples")
    if held_out is not None and np.isfinite(held_out).any():
        level = float(np.quantile(held_out[np.isfinite(held_out)], 0.95))
        label = "95% of the held-out samples are below"
        ax.axhline(level, color=BLUE, ls="--", lw=1.2, label=label)
    ax.set(xlabel="margin of the training sample", ylabel="NCC of its candidate")
    ax.set_ylim(None, 1.02)
    ax.legend(frameon=False, fontsize=8)
    _frame(ax)
    return _png(figure)


def _frame(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _pixels(flat: np.ndarray, display: Display, *, scale: bool) -> np.ndarray:
    """Return images (k, H, W) or (k, H, W, 3) in [0, 1]."""
    assert display.shape is not None
    flat = flat.astype(np.float64)  # (k, d)
    if scale and display.norm is not None:
        lengths = np.linalg.norm(flat, axis=1, keepdims=True)
        flat = flat * (display.norm / np.maximum(lengths, 1e-300))
    if display.mean is not None:
        flat = flat + display.mean
    images = stretch(flat).reshape(len(flat), *display.shape)  # (k, C, H, W)
    return images[:, 0] if display.shape[0] == 1 else images.transpose(0, 2, 3, 1)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
