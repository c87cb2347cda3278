"""What an audit says: one dict of numbers, rendered as JSON, as text and as an HTML page."""

import base64
from importlib.resources import files
from typing import Any

import numpy as np

import kkt_ref
from kkt_ref.audit.figures import Picture
from kkt_ref.audit.run import Audit
from kkt_ref.audit.tables import by_class
from kkt_ref.audit.verdict import SAID, find_verdicts, known_figures, overall
from kkt_ref.network.mlp import MLP

Rows = list[tuple[str, ...]]  # a name and its values as text

LOPSIDED = 2.0  # warn if the norm of layer 1 is larger than the smallest by this factor
NEAR, FEW = 1.5, 0.5  # warn if fewer than half of the margins are within 1.5 q
OFF_CENTRE = 0.1  # warn if the mean of the data has more than this share of their energy
SECTIONS = {  # titles of the tables; the template explains them
    "network": "The network",
    "conditions": "KKT conditions on the training data (violations; 0 is satisfied)",
    "data": "Matches: training data, then held-out samples",
    "membership": "Membership: training samples against held-out samples",
    "classes": "By class",
    "attack": "How the candidates were found",
    "seconds": "Seconds by stage",
}
HIT = 0.8  # NCC


def find_warnings(audit: Audit) -> list[str]:
    """Return what limits the meaning of an audit, in sentences."""
    net, norms, found = audit.weights.net, _norms(audit.weights.net), []
    later = [str(layer) for layer, b in enumerate(net.biases, 1) if b is not None and layer > 1]
    if later:
        found.append(
            f"The network is not homogeneous: it has a bias in layer {', '.join(later)}. Expect "
            "fewer and more blurred candidates."
        )
    if not net.activation.homogeneous:
        found.append(
            f"The network is not homogeneous: its activation ({_activation(net)}) is smooth at 0. "
            "The theory holds for its limit, ReLU."
        )
    if not audit.weights.activation_known:
        found.append(
            "The file does not name the activation, so ReLU is assumed. If that is wrong, the "
            "candidates are meaningless; name the activation by --activation."
        )
    if audit.weights.reordered:
        found.append(
            "The layers stood in another order in the file; they were put in the only order in "
            "which their shapes fit."
        )
    if norms[0] > LOPSIDED * min(norms):
        found.append(
            f"The norm of layer 1 is {norms[0]:.3g}, that of another layer {min(norms):.3g}. They "
            "are equal at a KKT point, so layer 1 probably still contains its random "
            "initialisation, which acts as noise on the candidates."
        )
    if audit.data is None or audit.conditions is None:
        found.append(
            "No training data were given, so nobody can tell which candidates are real. "
            "Agreement between starts is a hint, not a proof."
        )
        return found
    numbers = audit.conditions.numbers
    if "weight_decay" in numbers:
        found.append(
            f"The outputs on these data explain all but {numbers['floor_weight_decay']:.2g} of the "
            f"weights, as after training with {numbers['problem_that_fits']}, μ = "
            f"{numbers['weight_decay']:.2g}; max margin, which fits a multiplier to each sample, "
            f"explains all but {numbers['floor']:.2g}. Training for long without weight decay can "
            "look alike. With weight decay, all samples have multipliers, and not only those at "
            "the margin."
        )
    found += _data_warnings(audit.conditions.margins, audit.data.x)
    if audit.held_out is None:
        found.append(
            "No held-out samples were given, so the scores cannot be compared with chance: a "
            "blurred candidate resembles some sample of any large set. Use --held-out."
        )
    return found


def _data_warnings(margins: np.ndarray, x: np.ndarray) -> list[str]:
    found, n, q = [], len(x), margins.min()
    wrong, near = int(np.sum(margins <= 0)), int(np.sum(margins <= NEAR * q))
    if wrong:
        found.append(
            f"The network does not separate the training data: {wrong} of {n} samples are "
            "misclassified, so the theory does not apply. If it should separate them, check the "
            "labels, and that x is what the network saw (scale, mean, order of pixels)."
        )
    elif near < FEW * n:
        found.append(
            f"The margins are spread from {q:.3g} to {margins.max():.3g}: only {near} of {n} "
            f"samples are within {NEAR} times the smallest. Others cannot be reconstructed."
        )
    off = float(np.sum(x.mean(axis=0) ** 2) * n / np.sum(x**2)) if x.any() else 0.0
    if off > OFF_CENTRE + 2 / n and x.shape[1] > 2:  # the mean of centred samples leaves about 1/n
        found.append(
            f"The data are not centred: their mean has {off:.0%} of their energy, so that every "
            "candidate resembles every sample. Only the difference to held-out samples counts."
        )
    return found


def as_numbers(audit: Audit) -> dict[str, Any]:
    """Return all that an audit knows as JSON can hold it; the other renderings use it too.

    With training data, "samples" holds one row for each: the index of its candidate (-1 for
    none), the score and the margin.
    """
    net, found = audit.weights.net, audit.found
    numbers: dict[str, Any] = {
        "version": kkt_ref.__version__,
        "warnings": find_warnings(audit),
        "network": {
            "file": audit.file,
            "kind": audit.weights.kind,
            "layers": [f"{i} ({name})" for i, name in enumerate(audit.weights.names, start=1)],
            "widths": net.widths,
            "parameters": net.theta.size,
            "dtype": audit.weights.stored,
            "computed_in": str(net.dtype),
            "activation": _activation(net),
            "biased": [layer for layer, b in enumerate(net.biases, 1) if b is not None],
            "homogeneous": net.homogeneous,
            "norms": _norms(net),
        },
    }
    if audit.conditions is not None:
        numbers["conditions"] = audit.conditions.numbers
    if found is None:
        return numbers
    numbers["attack"] = audit.settings | {"candidates_found": len(found.labels)}
    if net.d > 2:
        numbers["attack"]["residual_layer_1"] = min(run.by_layer[0] for run in found.runs)
    numbers["seconds"] = audit.seconds or {}
    verdicts = find_verdicts(audit)
    degree = overall(list(verdicts.values()))
    numbers["verdict"] = {"degree": degree} | {k: v._asdict() for k, v in verdicts.items()}
    numbers["answer"] = [f"Verdict: that the weights reveal training data {SAID[degree]}."]
    numbers["answer"] += [f"{name.capitalize()}: {v.text}" for name, v in verdicts.items()]
    numbers["figures"] = known_figures(audit)
    if audit.members is not None:
        numbers["membership"] = audit.members.as_dict()
    if audit.matches is not None and audit.data is not None and audit.data.y is not None:
        numbers["data"] = audit.matches.numbers | _best(audit.pairs[0])
        numbers["held_out"] = None
        if audit.chance is not None:
            numbers["held_out"] = audit.chance.numbers | _best(audit.pairs[1])
        if net.d > 2:
            score = audit.matches.score
            numbers["classes"] = by_class(audit.data.y, score, HIT, audit.members)
        columns = sample_columns(audit)
        numbers["samples"] = [
            {
                name: None if value != value else value
                for name, value in zip(columns, row, strict=True)
            }
            for row in zip(*(column.tolist() for column in columns.values()), strict=True)
        ]
    return numbers


def _best(pairs: dict[str, np.ndarray]) -> dict[str, float]:
    """The means of the ten best MSE, PSNR and SSIM of matched pairs."""
    means = {}
    for name, values in pairs.items():
        known = np.sort(values[~np.isnan(values)])
        best = known[:10] if name == "MSE" else known[::-1][:10]
        if name != "NCC" and len(best):
            means[f"{name}, mean of the ten best"] = float(best.mean())
    return means


def sample_columns(audit: Audit) -> dict[str, np.ndarray]:
    """Return, for each training sample, its candidate (-1: none) and its scores (NaN: none)."""
    assert audit.matches is not None and audit.data is not None and audit.data.y is not None
    n, candidate = len(audit.data.x), audit.matches.candidate
    columns = {"row": np.arange(n), "label": audit.data.y, "candidate": candidate}
    columns["score"] = np.where(candidate >= 0, audit.matches.score, np.nan)
    if audit.conditions is not None:
        columns["margin"] = audit.conditions.margins
    columns |= {name: values for name, values in audit.pairs[0].items() if name != "NCC"}
    if audit.members is not None:
        membership, p = np.full((2, n), np.nan)
        membership[audit.members.rows] = audit.members.members
        p[audit.members.rows] = audit.members.roc.p_values
        columns |= {"membership": membership, "membership_p": p}
    return columns


def _activation(net: MLP) -> str:
    alpha = getattr(net.activation, "alpha", None)
    return net.activation.name + (f", alpha {alpha:g}" if alpha else "")


def _norms(net: MLP) -> list[float]:
    return [float(np.linalg.norm(np.float64(net.theta[s]))) for s in net.layer_slices]


def as_tables(numbers: dict[str, Any]) -> dict[str, Rows]:
    """Return the rows of each section that the numbers have: names, and values as text."""
    tables = {}
    for section in SECTIONS:
        if section not in numbers:
            continue
        if section == "classes":
            header = ("class", *next(iter(numbers[section].values())))
            rows = [(k, *map(_text, row.values())) for k, row in numbers[section].items()]
            tables[section] = [header, *rows]
            continue
        columns = [numbers[section]]
        if section == "data" and numbers["held_out"] is not None:
            columns.append(numbers["held_out"])
        tables[section] = [
            (name.replace("_", " "), *(_text(column[name]) for column in columns))
            for name in numbers[section]
        ]
    return tables


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    if value is None:
        return "too few samples"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def as_text(section: str, rows: Rows) -> str:
    """Return a table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n  ".join((SECTIONS[section], *lines))


def as_html(numbers: dict[str, Any], pictures: list[Picture]) -> str:
    """Return an HTML page that refers to nothing outside itself; it needs jinja2."""
    from jinja2 import Environment, StrictUndefined

    template = files("kkt_ref.audit").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda png: base64.b64encode(png).decode()
    return environment.from_string(template).render(
        numbers=numbers, pictures=pictures, sections=SECTIONS, tables=as_tables(numbers)
    )
