"""An audit of a network's weights: what they are, what comes back from them, how good it is.

Four steps, each a function of arrays: :func:`describe` the network, :func:`conditions` of a
KKT point where the data is at hand, :func:`~kkt_ref.audit.attack.attack` the weights,
:func:`compare` what came back with the data and with samples that were never trained on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.kinks import kinks_at
from kkt_ref.audit.attack import Found, Plan
from kkt_ref.kkt.conditions import KKTReport, kkt_report, residual_floor, stationarity_norms
from kkt_ref.kkt.margin import margins
from kkt_ref.kkt.multipliers import fit_multipliers
from kkt_ref.metrics.matching import match_one_to_one, match_points
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.network.mlp import MLP

KINKS = "kinks of layer 1 through a sample, mean"


class Network(NamedTuple):
    """What a network is."""

    widths: tuple[int, ...]  # (d, h_1, ..., 1)
    parameters: int
    dtype: str
    activation: str  # with its α
    biased: tuple[int, ...]  # layers that have a bias, from 1
    homogeneous: bool
    smooth: bool  # whether the activation is what breaks homogeneity
    norms: tuple[float, ...]  # ‖θ‖ by layer, weights and bias together


class Conditions(NamedTuple):
    """How near to a KKT point the network is, on its own data."""

    margins: np.ndarray  # y_i Φ(x_i), (n,)
    kkt: KKTReport | None  # None where a sample is misclassified: there is no margin
    floor: float  # relative residual of stationarity with the best λ ≥ 0
    floor_layer_1: float  # of layer 1 alone, with the λ that is best there


class Comparison(NamedTuple):
    """Candidates matched one to one with samples, none used twice."""

    candidate: np.ndarray  # (n,), its index; -1 where the sample has none
    score: np.ndarray  # (n,): NCC, or for d = 2 the distance to the nearest candidate
    numbers: dict[str, float]  # what is counted, by name


class Audit(NamedTuple):
    """All that an audit found."""

    network: Network
    plan: Plan
    found: Found
    conditions: Conditions | None  # None without training data
    data: Comparison | None  # None without training data, or without a candidate
    held_out: Comparison | None  # the same for samples never trained on
    warnings: tuple[str, ...]

    @property
    def grid(self) -> bool:
        """Whether the inputs are points in the plane, attacked on a grid."""
        return self.network.widths[0] == 2


def describe(net: MLP) -> Network:
    """Say what a network is.

    Parameters
    ----------
    net : MLP

    Returns
    -------
    Network
    """
    alpha = getattr(net.activation, "alpha", None)
    return Network(
        widths=net.widths,
        parameters=net.theta.size,
        dtype=str(net.dtype),
        activation=net.activation.name + (f", alpha {alpha:g}" if alpha else ""),
        biased=tuple(i for i, b in enumerate(net.biases, start=1) if b is not None),
        homogeneous=net.homogeneous,
        smooth=not net.activation.homogeneous,
        norms=tuple(float(np.linalg.norm(np.float64(net.theta[s]))) for s in net.layer_slices),
    )


def conditions(net: MLP, x: np.ndarray, y: np.ndarray) -> Conditions:
    """Measure the KKT conditions and the floors of the residual, in float64.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d), float64
    y : array of shape (n,), entries -1 and +1

    Returns
    -------
    Conditions

    Raises
    ------
    ValueError, TypeError
        If the samples do not fit the network.
    """
    net = net.astype(np.float64)
    values = margins(net, x, y)  # (n,)
    multipliers = fit_multipliers(net, x, y)
    separated = values.min() > 0
    first_only = (1.0, *(0.0,) * (net.depth - 1))
    return Conditions(
        margins=values,
        kkt=kkt_report(net, x, y, multipliers) if separated else None,
        floor=stationarity_norms(net, x, y, multipliers).relative,
        floor_layer_1=residual_floor(net, x, y, layer_weights=first_only).by_layer[0],
    )


def compare(
    net: MLP, found: Reconstruction, x: np.ndarray, *, step: float | None = None
) -> Comparison | None:
    """Match candidates one to one with samples; None where there is no candidate.

    Parameters
    ----------
    net : MLP
    found : Reconstruction
    x : array of shape (n, d), float64
        Training samples, or as many that were never trained on.
    step : float, optional
        For d = 2: of the attack's grid.

    Returns
    -------
    Comparison or None
        By NCC; for d = 2 by distance, within 2.5, 1.5 and half a step.
    """
    if not len(found.labels):
        return None
    kinks = float(np.mean(kinks_at(net.astype(np.float64), x)))
    if step is None:
        matched = match_one_to_one(ncc_all_pairs(x, np.float64(found.candidates)))
        numbers = {
            "NCC, mean of the ten best": matched.top_mean(10),
            "samples with NCC >= 0.8": matched.count(0.8),
            "samples with NCC >= 0.9": matched.count(0.9),
            KINKS: kinks,
        }
        return Comparison(matched.candidate, matched.score, numbers)
    near = [
        match_points(x, found.candidates, part * step, found.multipliers)
        for part in (2.5, 1.5, 0.5)
    ]
    candidate = np.full(len(x), -1)
    candidate[near[0].pairs[:, 0]] = near[0].pairs[:, 1]
    numbers = {
        f"samples within {part * step:.2g}": float(one.matched)
        for part, one in zip((2.5, 1.5, 0.5), near, strict=True)
    }
    numbers["candidates near none"] = near[0].strays
    numbers["their share of the multipliers"] = near[0].stray_mass
    numbers[KINKS] = kinks
    return Comparison(candidate, near[0].distances, numbers)


def as_table(audit: Audit) -> dict[str, Any]:
    """Return an audit's numbers as JSON can hold them.

    Parameters
    ----------
    audit : Audit

    Returns
    -------
    dict
        With training data also "samples", one a row: its candidate (-1 if none), score, margin.
    """
    table: dict[str, Any] = {
        "network": audit.network._asdict(),
        "plan": audit.plan._asdict(),
        "attack": "grid" if audit.grid else "first layer",
        "candidates": len(audit.found.reconstruction.labels),
        "residual_layer_1": audit.found.residual_layer_1,
        "seconds": audit.found.seconds,
        "failure": audit.found.failure,
        "warnings": audit.warnings,
    }
    if audit.conditions is not None:
        u, kkt = audit.conditions.margins, audit.conditions.kkt
        table["conditions"] = {
            "samples": len(u),
            "misclassified": int(np.sum(u <= 0)),
            "margin_min": float(u.min()),
            "margin_median": float(np.median(u)),
            "margin_max": float(u.max()),
            "floor": audit.conditions.floor,
            "floor_layer_1": audit.conditions.floor_layer_1,
            "kkt": None if kkt is None else _kkt_table(kkt),
        }
    for name in ("data", "held_out"):
        comparison = getattr(audit, name)
        table[name] = None if comparison is None else comparison.numbers
    if audit.data is not None and audit.conditions is not None:
        columns = audit.data.candidate, audit.data.score, audit.conditions.margins
        table["samples"] = [
            {"candidate": int(c), "score": float(s) if c >= 0 else None, "margin": float(u)}
            for c, s, u in zip(*columns, strict=True)
        ]
    return table


def _kkt_table(report: KKTReport) -> dict[str, Any]:
    return {
        "stationarity": report.stationarity.relative,
        "stationarity_by_layer": report.stationarity.by_layer,
        "primal_feasibility": report.primal_feasibility,
        "dual_feasibility": report.dual_feasibility,
        "complementary_slackness": report.complementary_slackness.relative,
        "epsilon": report.epsilon,
        "delta": report.delta,
        "normalised_margin": report.normalised_margin,
        "warnings": report.warnings,
    }
