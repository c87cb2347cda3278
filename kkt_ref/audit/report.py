"""What an audit says: one table of numbers, rendered as JSON, as text and as an HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

import kkt_ref
from kkt_ref.audit.figures import Picture
from kkt_ref.audit.run import Audit, Conditions, attack_name
from kkt_ref.kkt.conditions import KKTReport
from kkt_ref.network.mlp import MLP

LOPSIDED = 2.0  # warn if the norm of layer 1 is larger than the smallest by this factor
NEAR, FEW = 1.5, 0.5  # warn if fewer than half of the margins are within 1.5 q
OFF_CENTRE = 0.1  # warn if the mean of the data has more than this share of their energy


class Table(NamedTuple):
    """A table for readers; every cell is text."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def find_warnings(audit: Audit, x: np.ndarray | None, *, held_out: bool) -> tuple[str, ...]:
    """Return what limits the meaning of an audit on training data x (n, d), in sentences."""
    found = _network_warnings(audit)
    if audit.conditions is None or x is None:
        found.append(
            "No training data were given. The audit therefore cannot tell whether the network "
            "separates them, or which candidates are training samples. Agreement between starts is "
            "a hint, not a proof."
        )
        return tuple(found)
    found += _data_warnings(audit.conditions.margins, x)
    if not held_out:
        found.append(
            "No held-out samples were given. A blurred candidate resembles some sample of any "
            "large set, so the scores cannot be compared with chance. Give as many unseen samples "
            "by --held-out."
        )
    return tuple(found)


def _network_warnings(audit: Audit) -> list[str]:
    net, found = audit.weights.net, []
    later = [str(layer) for layer, b in enumerate(net.biases, 1) if b is not None and layer > 1]
    if later:
        found.append(
            f"The network is not homogeneous: it has a bias in layer {', '.join(later)}. The "
            "theory allows a bias in layer 1 only, so the attack will find fewer and more blurred "
            "candidates."
        )
    if not net.activation.homogeneous:
        found.append(
            f"The network is not homogeneous: its activation ({_activation(net)}) is smooth at 0. "
            "The theory holds for its limit, ReLU; a smaller alpha gives more blurred candidates."
        )
    if not audit.weights.activation_known:
        found.append(
            "The file does not name the activation, so ReLU is assumed. If the network has another "
            "activation, the candidates are meaningless; name it by --activation."
        )
    norms = _norms(net)
    if norms[0] > LOPSIDED * min(norms):
        found.append(
            f"The norm of layer 1 is {norms[0]:.3g}; the smallest norm of a layer is "
            f"{min(norms):.3g}. All layers have equal norm at a KKT point, so layer 1 probably "
            "still contains much of its random initialisation, as after short training or from a "
            "large initialisation. This acts as noise, and fewer samples are reconstructed."
        )
    return found


def _data_warnings(margins: np.ndarray, x: np.ndarray) -> list[str]:
    found, n, q = [], len(x), margins.min()
    wrong, near = int(np.sum(margins <= 0)), int(np.sum(margins <= NEAR * q))
    if wrong:
        found.append(
            f"The network does not separate the training data: {wrong} of {n} samples are "
            "misclassified. Without a positive margin the theory does not apply. Few samples or "
            "none will be reconstructed, which says nothing about a network that is trained "
            "further. If the network should separate these data, check that x is what the network "
            "saw (scale, mean, order of pixels) and that the labels are right."
        )
    elif near < FEW * n:
        found.append(
            f"The margins are spread from {q:.3g} to {margins.max():.3g}: only {near} of {n} "
            f"samples have a margin within {NEAR} times the smallest one. Samples far from the "
            "margin have multiplier 0 and cannot be reconstructed; the samples near it are at risk."
        )
    off = float(np.sum(x.mean(axis=0) ** 2) * n / np.sum(x**2)) if x.any() else 0.0
    if off > OFF_CENTRE + 2 / n and x.shape[1] > 2:  # the mean of centred samples leaves about 1/n
        found.append(
            f"The data are not centred: their mean has {off:.0%} of their energy. Every candidate "
            "then resembles every sample, so only the difference to held-out samples is meaningful."
        )
    return found


def as_numbers(audit: Audit) -> dict[str, Any]:
    """Return all that an audit knows as JSON can hold it; the other renderings use it too.

    With training data, "samples" holds one row for each: the index of its candidate (-1 for
    none), the score and the margin.
    """
    net, result = audit.weights.net, audit.attack
    numbers: dict[str, Any] = {
        "version": kkt_ref.__version__,
        "file": audit.file,
        "kind": audit.weights.kind,
        "layers": audit.weights.names,
        "network": {
            "widths": net.widths,
            "parameters": net.theta.size,
            "dtype": str(net.dtype),
            "activation": _activation(net),
            "biased": [layer for layer, b in enumerate(net.biases, 1) if b is not None],
            "homogeneous": net.homogeneous,
            "smooth": not net.activation.homogeneous,
            "norms": _norms(net),
        },
        "plan": audit.settings._asdict(),
        "attack": attack_name(net),
        "warnings": audit.warnings,
    }
    if audit.conditions is not None:
        numbers["conditions"] = _condition_numbers(audit.conditions)
    if result is None:
        return numbers
    numbers["answer"] = _answer(audit)
    numbers["candidates"] = len(result.reconstruction.labels)
    numbers["residual_layer_1"] = result.residual_layer_1
    numbers["seconds"] = result.seconds
    numbers["failure"] = result.failure
    numbers["data"] = None if audit.data is None else audit.data.numbers
    numbers["held_out"] = None if audit.held_out is None else audit.held_out.numbers
    if audit.data is not None and audit.conditions is not None:
        columns = audit.data.candidate, audit.data.score, audit.conditions.margins
        numbers["samples"] = [
            {"candidate": int(c), "score": float(s) if c >= 0 else None, "margin": float(u)}
            for c, s, u in zip(*columns, strict=True)
        ]
    return numbers


def _activation(net: MLP) -> str:
    alpha = getattr(net.activation, "alpha", None)
    return net.activation.name + (f", alpha {alpha:g}" if alpha else "")


def _norms(net: MLP) -> list[float]:
    return [float(np.linalg.norm(np.float64(net.theta[s]))) for s in net.layer_slices]


def _condition_numbers(measured: Conditions) -> dict[str, Any]:
    u = measured.margins  # (n,)
    return {
        "samples": len(u),
        "misclassified": int(np.sum(u <= 0)),
        "margin_min": float(u.min()),
        "margin_median": float(np.median(u)),
        "margin_max": float(u.max()),
        "floor": measured.floor,
        "floor_layer_1": measured.floor_layer_1,
        "kkt": None if measured.kkt is None else _kkt_numbers(measured.kkt),
    }


def _kkt_numbers(report: KKTReport) -> dict[str, Any]:
    return {
        "stationarity": report.stationarity.relative,
        "stationarity_by_layer": report.stationarity.by_layer,
        "primal_feasibility": report.primal_feasibility,
        "dual_feasibility": report.dual_feasibility,
        "complementary_slackness": report.complementary_slackness,
        "epsilon": report.epsilon,
        "delta": report.delta,
        "normalised_margin": report.normalised_margin,
        "warnings": report.warnings,
    }


def _answer(audit: Audit) -> list[str]:
    result = audit.attack
    assert result is not None
    if result.failure is not None:
        return [f"The attack found no candidate: {result.failure}"]
    m = len(result.reconstruction.labels)
    if audit.data is None:
        return [
            f"The attack found {m} candidates. Without the training data nobody can tell which "
            "of them are real."
        ]
    counts = [
        next((name, value) for name, value in one.numbers.items() if name.startswith("samples"))
        for one in (audit.data, audit.held_out)
        if one is not None
    ]
    n, (name, hits) = len(audit.data.score), counts[0]
    found = f"a candidate {name.removeprefix('samples ')}"
    lines = [f"{hits:g} of {n} training samples have {found}."]
    if len(counts) == 2:
        by_chance = counts[1][1]
        chance = ", so the attack is no better than chance" if hits <= by_chance else ""
        lines.append(f"{by_chance:g} of {n} samples that the network never saw have one{chance}.")
    return lines


def network_table(numbers: dict[str, Any]) -> Table:
    """Return the layers of the network."""
    network, rows = numbers["network"], []
    for i, name in enumerate(numbers["layers"]):
        bias = "yes" if i + 1 in network["biased"] else "no"
        widths = f"{network['widths'][i]} to {network['widths'][i + 1]}"
        rows.append((name, widths, bias, f"{network['norms'][i]:.4g}"))
    return Table("The network", ("layer", "widths", "bias", "norm"), rows)


def conditions_table(numbers: dict[str, Any]) -> Table:
    """Return the KKT conditions on the training data, each as its violation."""
    c = numbers["conditions"]
    margins = ", ".join(f"{c[f'margin_{which}']:.3g}" for which in ("min", "median", "max"))
    rows = [
        ("samples, misclassified", f"{c['samples']}, {c['misclassified']}"),
        ("margins: smallest, median, largest", margins),
    ]
    if c["kkt"] is not None:
        kkt = c["kkt"]
        rows += [
            ("stationarity, relative residual", f"{kkt['stationarity']:.3f}"),
            ("the same by layer", ", ".join(f"{r:.2f}" for r in kkt["stationarity_by_layer"])),
            ("primal feasibility", f"{kkt['primal_feasibility']:.3g}"),
            ("dual feasibility", f"{kkt['dual_feasibility']:.3g}"),
            ("complementary slackness, relative", f"{kkt['complementary_slackness']:.3f}"),
            ("epsilon, delta", f"{kkt['epsilon']:.3g}, {kkt['delta']:.3g}"),
        ]
    rows.append(("residual floor, all layers", f"{c['floor']:.3f}"))
    rows.append(("residual floor, layer 1", f"{c['floor_layer_1']:.3f}"))
    if numbers.get("residual_layer_1") is not None:
        rows.append(("residual of layer 1 that the attack reached", _reached(numbers)))
    title = "KKT conditions on the training data (violations; 0 is satisfied)"
    return Table(title, ("", "value"), rows)


def _reached(numbers: dict[str, Any]) -> str:
    return f"{numbers['residual_layer_1']:.3f}"


def matches_table(numbers: dict[str, Any]) -> Table:
    """Return the scores on the training data beside those on the held-out samples."""
    null, rows = numbers["held_out"], []
    for name, value in numbers["data"].items():
        rows.append((name, f"{value:.3g}", "not given" if null is None else f"{null[name]:.3g}"))
    return Table("Matches", ("", "training data", "held out"), rows)


def as_text(table: Table) -> str:
    """Return a table for the terminal."""
    rows = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
    lines = (
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
        if any(row)
    )
    return "\n".join((table.title, *(line.rstrip() for line in lines)))


def as_html(numbers: dict[str, Any], pictures: list[Picture]) -> str:
    """Return an HTML page that refers to nothing outside itself; it needs jinja2."""
    from jinja2 import Environment, StrictUndefined

    template = files("kkt_ref.audit").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda png: base64.b64encode(png).decode()
    return environment.from_string(template).render(
        numbers=numbers,
        pictures=pictures,
        matches=None if numbers["data"] is None else matches_table(numbers),
        conditions=conditions_table(numbers) if "conditions" in numbers else None,
        network=network_table(numbers),
    )
