"""One audit: measure a network's KKT conditions, attack it, and compare with samples.

Names of dimensions: n samples, m candidates, d inputs, L layers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import kkt_ref
from kkt_ref._io import fingerprint
from kkt_ref._validation import check_box, check_count
from kkt_ref.attacks import reconstruct
from kkt_ref.attacks.alternating import Alternation
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.grid import default_step
from kkt_ref.attacks.kinks import kinks_at
from kkt_ref.attacks.pooling import pool_alternations
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.audit.evidence import Members
from kkt_ref.audit.inputs import Samples
from kkt_ref.audit.tables import PairScores
from kkt_ref.audit.weights import Weights
from kkt_ref.kkt.equation import Equation
from kkt_ref.kkt.weight_decay import best_decay
from kkt_ref.metrics.matching import match_one_to_one, match_points
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.network.activations import ReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import check_net

# A wide two-layer network has as many directions as inputs, most of them its start.
MOST_OF_TWO_LAYERS = 500
KINKS = "kinks of layer 1 through a sample, mean"
# what shows weight decay: training without it leaves a larger residual, or fits a tiny μ only
DECAY_RESIDUAL, DECAY = 0.5, 1e-5


class Conditions(NamedTuple):
    """How near the network is to a KKT point of its training data."""

    margins: np.ndarray  # y_i Φ(x_i), (n,)
    numbers: dict[str, Any]  # floors of the residual, and the four conditions if q > 0


class Comparison(NamedTuple):
    """Candidates matched one to one with samples."""

    candidate: np.ndarray  # (n,), index of the sample's candidate, or -1
    score: np.ndarray  # (n,), NCC; for d = 2 the distance to the nearest candidate
    numbers: dict[str, float]  # counts and means by name, the most telling count first


class Audit(NamedTuple):
    """All that an audit knows; what is not known yet, or was not given, is None."""

    weights: Weights
    file: str  # name of the weights file
    settings: dict[str, Any]  # of the attack
    data: Samples | None = None
    held_out: Samples | None = None  # samples that the network never saw
    conditions: Conditions | None = None
    found: Reconstruction | None = None
    failure: str | None = None  # why the attack found no candidate
    matches: Comparison | None = None  # of candidates with the training data
    chance: Comparison | None = None  # of the same candidates with as many held-out samples
    pairs: tuple[PairScores, ...] = ()  # of the matches, and of those by chance
    members: Members | None = None
    seconds: dict[str, float] | None = None  # by stage


def attack_settings(
    net: MLP,
    *,
    candidates: int | None = None,
    restarts: int = 16,
    seed: int = 0,
    box: tuple[float, float] = (-1.5, 1.5),
) -> tuple[FirstLayer, dict[str, Any]]:
    """Return the equation of layer 1, and which attack suits with which settings; or raise."""
    if net.d == 1:
        raise ValueError("net: expected at least two inputs, got one; no attack is known for that")
    with np.errstate(over="ignore"):
        check_net(net.astype(np.float32))  # the attack works in single precision
    problem = FirstLayer(net)
    default = problem.default_candidates
    if net.depth == 2:
        default = min(default, MOST_OF_TWO_LAYERS)
    if net.d == 2:
        name = "kinks" if isinstance(net.activation, ReLU) else "grid"
        return problem, {"attack": name, "box": check_box(box)}
    return problem, {
        "attack": "first layer",
        "candidates": default if candidates is None else check_count(candidates, "candidates"),
        "restarts": check_count(restarts, "restarts", 2),
        "seed": check_count(seed, "seed", 0),
    }


def run_settings(net: MLP, settings: dict[str, Any]) -> dict[str, Any]:
    """Return all that decides the files of a run, with which its folder is claimed."""
    return {
        "command": "audit",
        "version": kkt_ref.__version__,
        "network": fingerprint(*net.arrays),
        "widths": net.widths,
        "activation": repr(net.activation),
        **{name: value for name, value in settings.items() if name != "restarts"},
    }


def measure_conditions(net: MLP, x: np.ndarray, y: np.ndarray) -> Conditions:
    """Measure the KKT conditions and the floors of the residual in float64."""
    net = net.astype(np.float64)
    equation = Equation(net, x, y)
    u, multipliers = equation.margins, equation.fit()  # (n,)
    layer_1 = (1.0, *(0.0,) * (net.depth - 1))
    numbers = {
        "samples": len(u),
        "misclassified": int(np.sum(u <= 0)),
        "margin_min": float(u.min()),
        "margin_median": float(np.median(u)),
        "margin_max": float(u.max()),
        "floor": equation.norms(multipliers).relative,
        "floor_layer_1": equation.floor(layer_1).by_layer[0],
    }
    loss, decayed = best_decay(equation)
    numbers |= {
        "floor_weight_decay": decayed.stationarity.relative,
        "problem_that_fits": "max margin",
    }
    fits = decayed.stationarity.relative < DECAY_RESIDUAL
    if fits and decayed.decay is not None and decayed.decay > DECAY:
        numbers |= {"problem_that_fits": f"weight decay on {loss}", "weight_decay": decayed.decay}
    if u.min() > 0:  # else there is no margin
        numbers |= equation.report(multipliers).as_dict()
    return Conditions(u, numbers)


def run_attack(
    problem: FirstLayer,
    settings: dict[str, Any],
    folder: Path,
    callback: Callable[[int, Alternation], object],
) -> tuple[Reconstruction, str | None]:
    """Reconstruct training data; the second result says why, if there is no candidate.

    ``folder`` was claimed for these settings.  It keeps every finished start, so that the same
    call continues a stopped run; ``callback`` is called after each start.
    """
    if problem.net.d == 2:
        try:
            return reconstruct(problem.net.astype(np.float64), box=settings["box"]), None
        except ValueError as error:  # a result and no misuse, since all arguments were checked
            empty, index = np.zeros(0), np.zeros(0, int)
            return Reconstruction(np.zeros((0, 2)), empty, empty, index, (), None), str(error)
    starts = {name: settings[name] for name in ("candidates", "restarts", "seed")}
    with np.errstate(all="ignore"):  # the solver of the multipliers refuses what overflows
        runs = run_alternations(problem, **starts, folder=folder, callback=callback)
        found = pool_alternations(problem, runs, seed=settings["seed"])
    failure = None if len(found.labels) else "no candidate has a multiplier > 0 in any start"
    return found, failure


def compare(net: MLP, settings: dict[str, Any], found: Reconstruction, x: np.ndarray) -> Comparison:
    """Match candidates one to one with samples: by NCC, or for d = 2 by distance.

    For d = 2 it counts matches within 2.5, 1.5 and 0.5 steps of the attack's grid.
    """
    kinks = {KINKS: float(np.mean(kinks_at(net.astype(np.float64), x)))}
    if net.d > 2:
        matched = match_one_to_one(ncc_all_pairs(x, np.float64(found.candidates)))
        counts = {f"samples with NCC >= {level}": matched.count(level) for level in (0.8, 0.9)}
        mean = {"NCC, mean of the ten best": matched.top_mean(10)}
        return Comparison(matched.candidate, matched.score, counts | mean | kinks)
    step = default_step(settings["box"])  # of the attack's grid
    near = {
        radius: match_points(x, found.candidates, radius, found.multipliers)
        for radius in (2.5 * step, 1.5 * step, 0.5 * step)
    }
    widest = near[2.5 * step]
    candidate = np.full(len(x), -1)
    candidate[widest.pairs[:, 0]] = widest.pairs[:, 1]
    counts = {f"samples within {radius:.2g}": match.matched for radius, match in near.items()}
    strays = {
        "candidates near none": widest.strays,
        "their share of the multipliers": widest.stray_mass,
    }
    return Comparison(candidate, widest.distances, counts | strays | kinks)
