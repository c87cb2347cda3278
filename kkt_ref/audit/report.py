"""The report of an audit: its numbers as one dict, and the HTML page that shows them."""

import base64
from importlib.resources import files
from typing import Any

import kkt_ref
from kkt_ref.audit.fail_if import known_figures
from kkt_ref.audit.figures import Picture
from kkt_ref.audit.measure import Audit, Evidence, OnHeldOut
from kkt_ref.audit.verdict import MEANING, Verdict, overall
from kkt_ref.audit.warnings import find_warnings, layer_norms
from kkt_ref.audit.weights import Weights
from kkt_ref.network.mlp import MLP


def as_numbers(weights: Weights, audit: Audit, verdicts: dict[str, Verdict]) -> dict[str, Any]:
    """Return all that is known of the whole, as JSON can hold it."""
    found, degree = audit.found, overall(verdicts)
    said = degree if degree.startswith("cannot") else f"is {degree}"
    p_values = [verdict.p for verdict in verdicts.values() if verdict.p is not None]
    numbers: dict[str, Any] = {
        "version": kkt_ref.__version__,
        "warnings": find_warnings(audit, activation_known=weights.activation_known),
        "targets": audit.data.targets if audit.data else "",
        "network": _network(weights),
        "verdict": {
            "degree": degree,
            "p": min(p_values, default=None),
            "meaning": MEANING[degree],
            "tests": {name: verdict._asdict() for name, verdict in verdicts.items()},
        },
        "answer": [
            f"Verdict: that the weights reveal training data {said}. {MEANING[degree]}",
            *(f"{name.capitalize()}: {v.text}" for name, v in verdicts.items()),
        ],
    }
    if audit.settings:
        numbers["attack"] = audit.settings | {"candidates_found": len(found.labels)}
    if found.runs and audit.net.d > 2:
        numbers["attack"]["residual_layer_1"] = min(run.by_layer[0] for run in found.runs)
    if audit.settings and audit.data is not None:
        numbers["data"] = audit.data.matches.numbers
        numbers["held_out"] = audit.held_out.matches.numbers if audit.held_out else None
    if audit.data is not None and audit.data.conditions is not None:
        numbers["conditions"] = audit.data.conditions
    if audit.held_out is not None:
        numbers["membership"] = _figures_of(audit.held_out.membership)
        numbers["outputs"] = {"scores": audit.held_out.outputs_by}
        numbers["outputs"] |= _figures_of(audit.held_out.outputs)
        numbers["files"] = _files(audit.held_out)
    numbers["figures"] = known_figures(numbers)
    return numbers


def _network(weights: Weights) -> dict[str, Any]:
    net, of_mlp = weights.net, dict[str, Any]()
    if isinstance(net, MLP):
        alpha = getattr(net.activation, "alpha", None)
        of_mlp = {
            "widths": net.widths,
            "activation": net.activation.name + (f", alpha {alpha:g}" if alpha else ""),
            "biased": [layer for layer, b in enumerate(net.biases, 1) if b is not None],
            "homogeneous": net.homogeneous,
        }
    return {
        "file": weights.file,
        "kind": weights.kind,
        "layers": [f"{i} ({name})" for i, name in enumerate(weights.names, start=1)],
        **of_mlp,
        "parameters": net.theta.size,
        "dtype": weights.stored or str(net.dtype),
        "computed_in": str(net.dtype),
        "norms": layer_norms(net),
    }


def _files(held_out: OnHeldOut) -> dict[str, Any]:
    files, (n, m) = held_out.files, held_out.distinct
    return {
        "different training samples": n,
        "different held-out samples": m,
        "p of no difference without the network": files.p,
        "what differs": list(files.found),
        "preprocessing fitted to the data alone": files.fitted or "none seen",
        "best AUC without the network": files.auc,
        "best AUC by placebo weights": held_out.placebo_auc,
        "p of no difference by placebo weights": held_out.placebo_p,
    }


def _figures_of(evidence: Evidence) -> dict[str, Any]:
    roc = evidence.roc
    return {
        "training samples scored": len(evidence.members),
        "held-out samples scored": len(evidence.others),
        "AUC": roc.auc,
        "AUC, 95% interval": list(roc.auc_interval),
        "TPR at FPR 1%": roc.tpr001,
        "TPR at FPR 0.1%": roc.tpr0001,
        "smallest FPR that the held-out samples can show": roc.resolution,
        "p of no difference": evidence.p_alone,
        "p without what sizes and placebo weights explain": evidence.p,
    }


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "none"
    if value is None:
        return "too few samples"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def as_html(numbers: dict[str, Any], pictures: list[Picture]) -> str:
    """Return an HTML page that refers to nothing outside itself; it needs jinja2."""
    from jinja2 import Environment, StrictUndefined

    template = files("kkt_ref.audit").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"base64": lambda png: base64.b64encode(png).decode(), "text": _text}
    return environment.from_string(template).render(numbers=numbers, pictures=pictures)
