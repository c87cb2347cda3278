"""The pictures of an audit as PNG bytes, drawn without pyplot.

The colours are those of Okabe and Ito, *Color Universal Design* (2008); markers and line
styles differ too.  Names of dimensions: n samples, k candidates shown, d inputs.
"""

import io
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.pooling import distinct
from kkt_ref.audit.inputs import Samples
from kkt_ref.audit.run import Audit, Comparison
from kkt_ref.metrics.roc import roc_curve
from kkt_ref.metrics.scores import Shape, stretch
from kkt_ref.stationarity import closed_form

COLUMNS, SHOWN, SHOWN_HELD_OUT = 8, 24, 8
FONT = 11
BLACK, GREY, BLUE, VERMILLION = "#000000", "#767676", "#0072B2", "#D55E00"
TWO = ((1, "+1", VERMILLION, "o"), (-1, "−1", BLUE, "s"))  # label, its text, colour, marker
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)


class Picture(NamedTuple):
    """A picture of the report."""

    name: str  # of its file, without the suffix
    title: str
    caption: str
    png: bytes


def draw_pictures(audit: Audit, shape: Shape | None) -> list[Picture]:
    """Draw all pictures of a finished audit; ``shape`` is that of the samples as images."""
    found = audit.found
    assert found is not None
    curves = [] if audit.members is None else [_roc(audit)]
    if audit.weights.net.d == 2:
        return [_plane(audit, found), *curves]
    if not len(found.labels):
        return curves
    candidates, mean = found.candidates, np.zeros(audit.weights.net.d)
    first = distinct(found.candidates)[:SHOWN]
    rows = [int(np.argmax((candidates == candidate).all(axis=1))) for candidate in first]
    if audit.data is not None:  # shows candidates with the contrast of the data
        typical = np.median(np.linalg.norm(audit.data.x, axis=1))
        candidates = candidates * (typical / np.linalg.norm(candidates, axis=1, keepdims=True))
        mean = mean if audit.data.mean is None else audit.data.mean

    def matches(comparison: Comparison, samples: Samples, shown: int, name: str) -> bytes:
        order = np.argsort(-comparison.score, kind="stable")[:shown]
        best = order[comparison.candidate[order] >= 0]
        captions = [f"NCC {comparison.score[row]:.2f}\nrow {row}" for row in best]
        of_best = candidates[comparison.candidate[best]]
        pairs = {"candidate": of_best + mean, name: samples.x[best] + mean}
        return _cells(pairs, captions, shape)

    pictures = curves
    if audit.matches is not None and audit.data is not None:
        title = "Best candidates beside the training samples that they match"
        caption = "No candidate is used twice. The rows of --data are counted from 0."
        png = matches(audit.matches, audit.data, SHOWN, "training\nsample")
        pictures.append(Picture("matches", title, caption, png))
    if audit.chance is not None and audit.held_out is not None:
        title = "The same candidates beside samples that the network never saw"
        png = matches(audit.chance, audit.held_out, SHOWN_HELD_OUT, "held-out\nsample")
        pictures.append(Picture("held_out", title, "These matches occur by chance.", png))
    assert found.agreement is not None
    title = "What an attacker without any data would look at first"
    caption = (
        "The candidates are sorted by how well another start of the attack agrees with them; near "
        "copies are left out. A candidate may be the negative of a training sample."
    )
    captions = [f"agreement {found.agreement[row]:.2f}" for row in rows]
    png = _cells({"candidate": candidates[rows] + mean}, captions, shape)
    pictures.append(Picture("candidates", title, caption, png))
    if audit.matches is not None and audit.conditions is not None:
        title = "Which training samples are reconstructed"
        caption = "In theory only samples at the smallest margin have a multiplier > 0."
        png = _margins(audit.conditions.margins, audit.matches, audit.chance)
        pictures.append(Picture("margins", title, caption, png))
    return pictures


def _cells(rows: dict[str, np.ndarray], captions: list[str], shape: Shape | None) -> bytes:
    """Draw rows (k, d) below each other, as images or, without a shape, as lines."""
    columns = min(COLUMNS, len(captions))
    groups = -(-len(captions) // columns)
    figure = Figure(figsize=(1.25 * columns + 1, 1.5 * groups * len(rows)), layout="constrained")
    axes = figure.subplots(groups * len(rows), columns, squeeze=False)
    for ax in axes.flat:
        ax.set(visible=False, xticks=[], yticks=[])
    for line, (name, values) in enumerate(rows.items()):
        for place, value in enumerate(stretch(values)):
            group, column = divmod(place, columns)
            ax = axes[group * len(rows) + line, column]
            ax.set_visible(True)
            if shape is None:
                ax.plot(value, color=BLUE, lw=1)
            else:
                image = np.moveaxis(value.reshape(shape), 0, -1)  # (H, W, C)
                ax.imshow(image.repeat(3 // shape[0], axis=-1), interpolation="nearest")
            if column == 0:
                ax.set_ylabel(name, fontsize=FONT)
            if line == 0:
                ax.set_title(captions[place], fontsize=FONT)
    return _png(figure)


def _roc(audit: Audit) -> Picture:
    """Draw the ROC curves of membership and of reconstruction on logarithmic axes."""
    assert audit.members is not None
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    ax = figure.add_subplot()
    pairs = [("membership", VERMILLION, "-", audit.members.members, audit.members.others)]
    if audit.matches is not None and audit.chance is not None and len(audit.matches.score) > 1:
        sign = 1.0 if audit.weights.net.d > 2 else -1.0  # scores in the plane are distances
        scores = (sign * audit.matches.score, sign * audit.chance.score)
        name = "NCC" if audit.weights.net.d > 2 else "distance"
        pairs.append((f"reconstruction, {name} of the match", BLUE, "--", *scores))
        errors = [np.nan_to_num(-part["MSE"], nan=-1e300) for part in audit.pairs if "MSE" in part]
        if len(errors) == 2:
            pairs.append(("reconstruction, MSE or PSNR", BLACK, "-.", *errors))
    least = min(0.5 / len(others) for *_, others in pairs)
    for name, colour, style, members, others in pairs:
        fpr, tpr = roc_curve(members, others)
        x = np.maximum(fpr, least)
        ax.step(x, tpr, where="post", color=colour, ls=style, lw=2.2, label=name)
    line = np.geomspace(least, 1, 50)
    ax.plot(line, line, color=GREY, ls=":", label="chance")
    ax.set(xscale="log", yscale="log", xlim=(least, 1.1), ylim=(least, 1.3))
    ax.set_xlabel("false positive rate (held-out samples)", fontsize=FONT)
    ax.set_ylabel("true positive rate (training samples)", fontsize=FONT)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", frameon=False, fontsize=FONT)
    caption = (
        "A curve above the dotted line tells training samples from others. "
        f"{len(audit.members.others)} held-out samples can show no rate below "
        f"{audit.members.roc.resolution:.2g} but 0, which is drawn at the left end."
    )
    title = "How well training samples are told from held-out ones"
    return Picture("roc", title, caption, _png(figure))


def _margins(margins: np.ndarray, matches: Comparison, chance: Comparison | None) -> bytes:
    """Draw the score of each training sample over its margin."""
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    ax = figure.add_subplot()
    matched = matches.candidate >= 0
    label = "training samples"
    ax.scatter(margins[matched], matches.score[matched], s=18, c=VERMILLION, label=label)
    if chance is not None:
        level = float(np.quantile(chance.score[chance.candidate >= 0], 0.95))
        label = "95% of the held-out samples are below"
        ax.axhline(level, color=BLUE, ls="--", lw=1.2, label=label)
    ax.set(xlabel="margin of the training sample", ylabel="NCC of its candidate")
    ax.set_ylim(None, 1.02)
    ax.legend(frameon=False, fontsize=FONT)
    return _png(figure)


def _plane(audit: Audit, found: Reconstruction) -> Picture:
    """Draw candidates over the output Φ of the network, with the training points."""
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    ax = figure.add_subplot()
    low, high = audit.settings["box"]
    ticks = np.linspace(low, high, 300)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (90000, 2)
    net = audit.weights.net.astype(np.float64)
    classes = TWO
    if net.K == 1:
        outputs = closed_form.forward(net, grid).outputs.reshape(300, 300)
    else:  # the margin of the largest output over the next
        ordered = np.sort(closed_form.forward(net, grid).outputs, axis=1)  # (90000, K)
        outputs = (ordered[:, -1] - ordered[:, -2]).reshape(300, 300)
        classes = tuple((c, str(c), COLOURS[c % 7], "os^Dv"[c % 5]) for c in range(net.K))
    top = max(float(np.abs(outputs).max()), 1e-300)
    ax.contourf(ticks, ticks, outputs, levels=np.linspace(-top, top, 24), cmap="RdBu_r", alpha=0.45)
    if outputs.min() < 0 < outputs.max():
        ax.contour(ticks, ticks, outputs, levels=[0], colors=GREY, linewidths=0.8)
    area = 15 + 60 * found.multipliers / found.multipliers.max(initial=1e-300)  # (m,)
    for label, text, colour, marker in classes:
        if audit.data is not None:
            x, y = audit.data.x[audit.data.y == label].T
            name = f"training point, label {text}"
            ax.scatter(x, y, 190, marker=marker, facecolors="none", edgecolors=BLACK, label=name)
        mine, name = found.labels == label, f"candidate, label {text}"
        x, y = found.candidates[mine].T
        ax.scatter(x, y, area[mine], colour, marker=marker, edgecolors="white", label=name)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="input 1", ylabel="input 2")
    figure.legend(loc="outside upper center", ncols=2, fontsize=FONT)
    caption = (
        "The area of a candidate's marker grows with its multiplier. The background shows the "
        "network's output, which is zero on the grey line, or the margin of the largest output."
    )
    return Picture("candidates", "Candidates in the plane", caption, _png(figure))


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
