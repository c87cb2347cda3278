"""The pictures of an audit as PNG bytes, drawn without pyplot.

The colours are those of Okabe and Ito, *Color Universal Design* (2008); markers and line
styles differ too.  Names of dimensions: n samples, k candidates shown, d inputs.
"""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kkt_ref._validation import Shape
from kkt_ref.attacks.first_layer import distinct
from kkt_ref.audit.measure import Audit, OnData, OnHeldOut
from kkt_ref.metrics.roc import roc_curve
from kkt_ref.metrics.scores import stretch

COLUMNS, SHOWN, SHOWN_HELD_OUT = 4, 12, 4  # narrow enough for a telephone
MOST_LINE = 100  # inputs that are drawn as a line; more say nothing to the eye
ALIKE = 0.8  # the NCC from which a candidate can be recognised
FONT = 13  # in points, of a picture 6 inches wide
BLACK, GREY, BLUE, VERMILLION = "#000000", "#767676", "#0072B2", "#D55E00"
MARKERS = "so^Dv"
COLOURS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", BLACK)


class Picture(NamedTuple):
    """A picture of the report."""

    name: str  # of its file, without the suffix
    title: str
    caption: str
    png: bytes  # empty if it cannot be drawn, which the caption explains


def draw_pictures(audit: Audit, mean: np.ndarray | None = None) -> list[Picture]:
    """Draw all pictures; ``mean`` (d,) is what was subtracted from the samples.

    The user's settings of Matplotlib do not count.  A picture that fails is reported in its
    caption, so that nothing else is lost.
    """
    pictures = []
    with matplotlib.style.context("default"), matplotlib.rc_context({"font.size": FONT}):
        for name, title, make in _wanted(audit, 0.0 if mean is None else mean):
            try:
                png, caption = make()
            except Exception as error:  # no picture is worth the results of an audit
                said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                png, caption = b"", f"This picture could not be drawn ({said})."
            pictures.append(Picture(name, title, caption, png))
    return pictures


def _wanted(audit: Audit, mean: Any) -> Iterator[tuple[str, str, Callable[[], tuple[bytes, str]]]]:
    """Yield name, title and a function for each picture of this audit."""
    candidates, held_out = audit.found.candidates, audit.held_out
    if "box" in audit.settings:
        yield "candidates", "Candidates in the plane", partial(_plane, audit)
    if held_out is not None:
        title = "How well training samples are told from held-out ones"
        yield "roc", title, partial(_roc, audit, held_out)
    if audit.net.d == 2 or audit.failure:
        return
    if audit.image_shape is None and audit.net.d > MOST_LINE:
        flat = "The samples are flat. If they are images, --shape C,H,W or --shape H,W shows them."
        yield "candidates", "The first candidates", lambda: (b"", flat)
        return
    draw = partial(_cells, mean=mean, shape=audit.image_shape)
    if audit.data is not None:  # shows candidates with the contrast of the data
        typical = np.median(np.linalg.norm(audit.data.x, axis=1))
        candidates = candidates * (typical / np.linalg.norm(candidates, axis=1, keepdims=True))
        best = float(audit.data.matches.score.max())
        said = (
            "NCC is the correlation of the two. Where it is below 0.8, what seems alike can be "
            "chance: compare with the held-out samples below. "
        )
        if best < ALIKE:
            said = (
                f"No candidate resembles its sample: the best NCC is {best:.2f}, and 0.8 is needed "
                "to recognise it. What is drawn here is noise or an average of many samples. "
            )
        said += "No candidate is used twice. The rows of --data are counted from 0."
        title = "Best candidates beside the training samples that they match"
        rows = _matched(candidates, audit.data, SHOWN, "training\nsample")
        yield "matches", title, lambda: (draw(*rows), said)
    if held_out is not None:
        title = "The same candidates beside samples that the network never saw"
        others = _matched(candidates, held_out, SHOWN_HELD_OUT, "held-out\nsample")
        yield "held_out", title, lambda: (draw(*others), "These matches occur by chance.")

    def attackers_view() -> tuple[bytes, str]:
        first = distinct(candidates)[:SHOWN]
        rows = [int(np.argmax((candidates == candidate).all(axis=1))) for candidate in first]
        agreement = np.asarray(audit.found.agreement)[rows]
        return draw({"candidate": first}, [f"agreement\n{value:.2f}" for value in agreement]), (
            "The attack makes candidates for any network, so a candidate is no evidence by itself; "
            "most are noise. They are sorted by how well another start of the attack agrees with "
            "them (1 is the same); near copies are left out. A candidate may be the negative of a "
            "training sample."
        )

    title = "The candidates that an attacker without any data would look at first"
    yield "candidates", title, attackers_view


def _matched(
    candidates: np.ndarray, part: OnData | OnHeldOut, shown: int, name: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the best matches as rows of :func:`_cells`, with their captions."""
    matches = part.matches
    order = np.argsort(-matches.score, kind="stable")[:shown]
    best = order[matches.candidate[order] >= 0]
    captions = [f"NCC {matches.score[row]:.2f}\nrow {part.rows[row]}" for row in best]
    return {"candidate": candidates[matches.candidate[best]], name: part.x[best]}, captions


def _cells(
    rows: dict[str, np.ndarray], captions: list[str], *, mean: Any, shape: Shape | None
) -> bytes:
    """Draw rows (k, d) plus the mean below each other, as images or, without a shape, as lines."""
    columns = min(COLUMNS, len(captions))
    groups = -(-len(captions) // columns)
    figure = Figure(figsize=(1.3 * columns + 0.8, 1.6 * groups * len(rows)), layout="constrained")
    axes = figure.subplots(groups * len(rows), columns, squeeze=False)
    for ax in axes.flat:
        ax.set(visible=False, xticks=[], yticks=[])
    for line, (name, values) in enumerate(rows.items()):
        for place, value in enumerate(stretch(values + mean)):
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


def _roc(audit: Audit, held_out: OnHeldOut) -> tuple[bytes, str]:
    """Draw the ROC curves of membership and of reconstruction on logarithmic axes."""
    figure = Figure(figsize=(6.0, 5.4), layout="constrained")
    ax = figure.add_subplot()
    pairs = [("membership", VERMILLION, "-", held_out.membership)]
    if not audit.failure:
        name = f"reconstruction,\n{'NCC' if audit.net.d > 2 else 'distance'} of the match"
        pairs.append((name, BLUE, "--", held_out.reconstruction))
    least = min(0.5 / len(evidence.others) for *_, evidence in pairs)
    for name, colour, style, evidence in pairs:
        fpr, tpr = roc_curve(evidence.members, evidence.others)
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
        f"{len(held_out.membership.others)} held-out samples can show no rate below "
        f"{held_out.membership.roc.resolution:.2g} but 0, which is drawn at the left end."
    )
    return _png(figure), caption


def _plane(audit: Audit) -> tuple[bytes, str]:
    """Draw candidates over the output Φ of the network, with the training points."""
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    ax = figure.add_subplot()
    low, high = audit.settings["box"]
    ticks = np.linspace(low, high, 300)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)  # (90000, 2)
    net, found, data = audit.net.astype(np.float64), audit.found, audit.data
    if net.K == 1:
        outputs = net.outputs(grid).reshape(300, 300)
    else:  # the margin of the largest output over the next
        ordered = np.sort(net.outputs(grid), axis=1)  # (90000, K)
        outputs = (ordered[:, -1] - ordered[:, -2]).reshape(300, 300)
    top = max(float(np.abs(outputs).max()), 1e-300)
    ax.contourf(ticks, ticks, outputs, levels=np.linspace(-top, top, 24), cmap="RdBu_r", alpha=0.45)
    if outputs.min() < 0 < outputs.max():
        ax.contour(ticks, ticks, outputs, levels=[0], colors=GREY, linewidths=0.8)
    area = 15 + 60 * found.multipliers / found.multipliers.max(initial=1e-300)  # (m,)
    for place, label in enumerate((-1, 1) if net.K == 1 else range(net.K)):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        if data is not None and data.targets == "classes":
            name = f"training point, label {label}"
            x, y = data.x[data.y == label].T
            ax.scatter(x, y, 190, marker=marker, facecolors="none", edgecolors=BLACK, label=name)
        alike, name = found.labels == label, f"candidate, label {label}"
        x, y = found.candidates[alike].T
        ax.scatter(x, y, area[alike], colour, marker=marker, edgecolors="white", label=name)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="input 1", ylabel="input 2")
    figure.legend(loc="outside upper center", ncols=2, fontsize=FONT)
    caption = (
        "The area of a candidate's marker grows with its multiplier. The background shows the "
        "network's output, which is zero on the grey line, or the margin of the largest output."
    )
    return _png(figure), caption


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(file, format="png", dpi=130)
    return file.getvalue()
