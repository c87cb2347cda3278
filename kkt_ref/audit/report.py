"""The report of an audit: one HTML file that stands alone, its pictures inside."""

from __future__ import annotations

import base64
from html import escape
from typing import NamedTuple

import numpy as np

import kkt_ref
from kkt_ref.audit.run import Audit, Comparison
from kkt_ref.network.weights_file import Weights

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } caption { text-align: left; color: #555; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; } figcaption { color: #555; } figure { margin: 1rem 0; }
.answer { font-size: 1.1rem; } .warn li { margin-bottom: .4rem; }
.warn { background: #fff6e0; padding: .6rem 1.2rem; border-left: 4px solid #d89000; }
"""


class Picture(NamedTuple):
    """A picture of the report."""

    name: str  # of its file, without ending
    title: str
    caption: str
    png: bytes


def html_report(audit: Audit, weights: Weights, file: str, pictures: list[Picture]) -> str:
    """Write the report.

    Parameters
    ----------
    audit : Audit
    weights : Weights
    file : str
        Name of the weights file.
    pictures : list of Picture

    Returns
    -------
    str
        An HTML document that refers to nothing outside itself.
    """
    parts = [
        f"<h1>What the weights in {escape(file)} give away</h1>",
        *(f'<p class="answer">{escape(line)}</p>' for line in answer(audit)),
    ]
    if audit.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in audit.warnings)
        parts.append(f'<h2>What limits this result</h2><div class="warn"><ul>{items}</ul></div>')
    parts.append(
        "<p>Few candidates that match, or none, are no proof that the weights hold nothing: "
        "another attack may find more.</p>"
    )
    for picture in pictures:
        code = base64.b64encode(picture.png).decode()
        parts.append(
            f"<h2>{escape(picture.title)}</h2><figure>"
            f'<img alt="{escape(picture.title)}" src="data:image/png;base64,{code}">'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        )
    parts += _scores(audit) + _conditions(audit) + _network(audit, weights) + _made(audit)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Audit of {escape(file)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def answer(audit: Audit) -> list[str]:
    """Say what came out, in a sentence or two.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    list of str
    """
    if audit.found.failure is not None:
        return [f"Nothing came back: {audit.found.failure}"]
    if audit.data is None:
        return [
            f"{len(audit.found.reconstruction.labels)} candidates came back; without the training "
            "data nobody can say which of them are real."
        ]
    n = len(audit.data.score)
    name, hits = _main_number(audit.data)
    lines = [f"{hits:g} of {n} training {name}."]
    if audit.held_out is not None:
        chance = _main_number(audit.held_out)[1]
        no_more = ": no more than chance" if hits <= chance else ""
        lines.append(f"Of as many samples that were never trained on: {chance:g}{no_more}.")
    return lines


def _main_number(comparison: Comparison) -> tuple[str, float]:
    return next(item for item in comparison.numbers.items() if item[0].startswith("samples"))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]], caption: str = "") -> str:
    def line(kind: str, cells: tuple[str, ...]) -> str:
        first, *others = cells
        rest = "".join(f'<{kind} class="n">{escape(cell)}</{kind}>' for cell in others)
        return f"<tr><{kind}>{escape(first)}</{kind}>{rest}</tr>"

    body = "".join(line("td", row) for row in rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}{line('th', head)}{body}</table>"


def _scores(audit: Audit) -> list[str]:
    if audit.data is None:
        return []
    null = audit.held_out.numbers if audit.held_out is not None else None
    rows = [
        (name, f"{value:.3g}", "not given" if null is None else f"{null[name]:.3g}")
        for name, value in audit.data.numbers.items()
    ]
    how = (
        "Candidates and samples are matched one to one by distance."
        if audit.grid
        else "Candidates and samples are matched one to one, so that none counts twice, by NCC: "
        "the correlation of all numbers of a sample, 1 for a copy in any brightness and contrast."
    )
    return [
        "<h2>Matches</h2>",
        _table(("", "training data", "held out"), rows),
        f"<p>{how} What counts is the difference between the columns: the right one is what the "
        "same candidates reach by chance.</p>",
    ]


def _conditions(audit: Audit) -> list[str]:
    measured = audit.conditions
    if measured is None:
        return []
    u = measured.margins
    rows = [
        ("samples, misclassified", f"{len(u)}, {int(np.sum(u <= 0))}"),
        ("margins: smallest, median, largest", f"{u.min():.3g}, {np.median(u):.3g}, {u.max():.3g}"),
    ]
    notes: tuple[str, ...] = ()
    if measured.kkt is not None:
        kkt = measured.kkt
        layers = ", ".join(f"{part:.2f}" for part in kkt.stationarity.by_layer)
        rows += [
            ("stationarity, relative residual", f"{kkt.stationarity.relative:.3f}"),
            ("the same by layer", layers),
            ("primal feasibility", f"{kkt.primal_feasibility:.3g}"),
            ("dual feasibility", f"{kkt.dual_feasibility:.3g}"),
            ("complementary slackness, relative", f"{kkt.complementary_slackness.relative:.3f}"),
            ("epsilon, delta", f"{kkt.epsilon:.3g}, {kkt.delta:.3g}"),
        ]
        notes = kkt.warnings
    rows += [
        ("floor of the residual, all layers", f"{measured.floor:.3f}"),
        ("floor of the residual, layer 1", f"{measured.floor_layer_1:.3f}"),
    ]
    if audit.found.residual_layer_1 is not None:
        rows.append(("reached by the attack, layer 1", f"{audit.found.residual_layer_1:.3f}"))
    return [
        "<h2>KKT conditions on the training data</h2>",
        _table(("", "value"), rows, "Of the conditions the violation is given: 0 is satisfied."),
        "<p>In theory gradient descent ends where the weights are a sum over the training set, "
        "with multipliers on the samples at the margin only. The residual says what part of the "
        "weights that sum leaves unexplained; the floor is what the true data leave, so that no "
        "attack need go below it. A layer that still holds its random start has a residual near "
        "1, and that impairs the attack in layer 1 only.</p>",
        "<p>In the plane training drives the kinks of the ReLUs onto the points, which leaves a "
        "residual near 1 even at a KKT point.</p>"
        if audit.grid
        else "",
        *(f"<p>{escape(note)}.</p>" for note in notes),
    ]


def _network(audit: Audit, weights: Weights) -> list[str]:
    network = audit.network
    rows = [
        (
            name,
            f"{network.widths[i]} to {network.widths[i + 1]}",
            "yes" if i + 1 in network.biased else "no",
            f"{network.norms[i]:.4g}",
        )
        for i, name in enumerate(weights.names)
    ]
    homogeneous = "homogeneous" if network.homogeneous else "not homogeneous"
    assumed = "" if weights.activation_known else " (assumed)"
    return [
        "<h2>The network</h2>",
        _table(("layer", "widths", "bias", "norm"), rows),
        f"<p>{weights.kind}; {network.parameters} parameters in {network.dtype}; activation "
        f"{escape(network.activation)}{assumed}; {homogeneous}. At a KKT point all layers of a "
        "homogeneous network have the same norm; one that is larger still holds its random "
        "start.</p>",
    ]


def _made(audit: Audit) -> list[str]:
    plan = audit.plan
    how = (
        "All four KKT conditions, where kinks meet (ReLU) and on a grid, in the box "
        f"{plan.box[0]:g} to {plan.box[1]:g}"
        if audit.grid
        else f"Alternating least squares on the first layer's equation, {plan.restarts} starts of "
        f"{plan.candidates} candidates, seed {plan.seed}"
    )
    signs = (
        ""
        if audit.grid
        else " The equation says little about a candidate's sign and nothing about its contrast: "
        "each is given with its negative, at a common norm."
    )
    return [
        "<h2>How it was made</h2>",
        f"<p>{how}; {audit.found.seconds:.0f} s; kkt_ref {kkt_ref.__version__}. The attack knows "
        "the weights and the numbers named here, nothing of the data. All candidates are in "
        f"candidates.npz.{signs} The method: Haim, Vardi, Yehudai, Shamir, Irani, Reconstructing "
        "Training Data from Trained Neural Networks, NeurIPS 2022, arXiv 2206.07758.</p>",
    ]
