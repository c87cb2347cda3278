"""The measurements of an audit: attack, KKT conditions, and the comparison with held-out samples.

Names of dimensions: n training samples, m held-out samples, k candidates, d inputs.
"""

from typing import Any, NamedTuple

import numpy as np

from kkt_ref.attacks import membership_scores
from kkt_ref.attacks.base import Callback, Reconstruction
from kkt_ref.attacks.kinks import kinks_at
from kkt_ref.attacks.membership import MOST
from kkt_ref.attacks.plane import default_step
from kkt_ref.audit.attack import attack, attack_settings
from kkt_ref.audit.decay import best_decay
from kkt_ref.audit.inputs import check_data, check_held_out, check_image_shape, check_inside
from kkt_ref.kkt.equation import Equation
from kkt_ref.metrics.matching import match_one_to_one, match_points
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.roc import ROC, roc
from kkt_ref.metrics.scores import Shape
from kkt_ref.network.mlp import MLP, check_mlp

KINKS = "kinks of layer 1 through a sample, mean"
RADII = (2.5, 1.5, 0.5)  # of matches in the plane, in steps of the attack's grid
# what shows weight decay: training without it leaves a larger residual, or fits a tiny μ only
DECAY_RESIDUAL, DECAY = 0.5, 1e-5


class Comparison(NamedTuple):
    """Candidates matched one to one with samples."""

    candidate: np.ndarray  # (n,), index of the sample's candidate, or -1
    score: np.ndarray  # (n,), NCC; for d = 2 the distance to the nearest candidate
    numbers: dict[str, float]  # counts and means by name, the most telling count first


class Evidence(NamedTuple):
    """Scores of training samples and of held-out samples; larger ones speak for training."""

    rows: np.ndarray  # (k,), the training samples that were scored
    members: np.ndarray  # (k,)
    others: np.ndarray  # (m,)
    roc: ROC


class OnData(NamedTuple):
    """Measurements that need training data."""

    x: np.ndarray  # (n, d)
    y: np.ndarray  # (n,)
    margins: np.ndarray  # y_i Φ(x_i), (n,)
    conditions: dict[str, Any]  # floors of the residual, and the four conditions if q > 0
    matches: Comparison  # of the candidates with the training data


class OnHeldOut(NamedTuple):
    """Measurements that need training data and held-out samples."""

    x: np.ndarray  # (m, d)
    matches: Comparison  # of the same candidates with the first n held-out samples
    reconstruction: Evidence
    membership: Evidence


class Audit(NamedTuple):
    """All that an audit measures."""

    net: MLP
    image_shape: Shape | None  # of a sample
    settings: dict[str, Any]  # the arguments of the attack
    found: Reconstruction
    failure: str  # why the attack found no candidate; empty if it found some
    data: OnData | None  # None if no data were given
    held_out: OnHeldOut | None  # None if no held-out samples were given


def audit(
    net: MLP,
    data: tuple[np.ndarray, np.ndarray] | None = None,
    held_out: np.ndarray | None = None,
    *,
    image_shape: Shape | None = None,
    candidates: int | None = None,
    restarts: int | None = None,
    seed: int = 0,
    box: tuple[float, float] | None = None,
    callback: Callback | None = None,
) -> Audit:
    """Attack a network, and compare what comes back with training data and held-out samples.

    Parameters
    ----------
    net : MLP
        Of at least two inputs.
    data : (x, y), optional
        Training data as the network saw them (scaled, mean subtracted): x floating, of shape
        (n, d), (n, H, W) or (n, C, H, W); y of -1 and +1, or of classes 0 ... K-1, (n,).  They
        judge the attack, which does not see them.
    held_out : array of shape (m, d), (m, H, W) or (m, C, H, W), optional
        m ≥ n samples of the same source that the network never saw; they show what chance does.
    image_shape : (channels, height, width), optional
        Of a sample; unless given, that of x if x is not flat.  Images are attacked by
        :func:`kkt_ref.attacks.reconstruct_components`.
    candidates
        Of each start of :func:`kkt_ref.attacks.reconstruct_first_layer`, which then attacks images
        too; for d > 2 only.
    restarts, seed
        As in :func:`kkt_ref.attacks.reconstruct`; for d > 2 only.
    box
        As in :func:`kkt_ref.attacks.reconstruct`; for d = 2 only.
    callback : callable, optional
        As in :func:`kkt_ref.attacks.reconstruct`.

    Returns
    -------
    Audit
        :func:`kkt_ref.audit.judge` draws the conclusion.
    """
    check_mlp(net)
    image_shape = check_image_shape(net, image_shape)
    given = None if data is None else check_data(net, data, image_shape)
    unseen = None if held_out is None else check_held_out(net, held_out, given)
    image_shape = given.shape if given else image_shape
    settings = attack_settings(net, image_shape, candidates, restarts, seed, box)
    if given is not None and net.d == 2:
        check_inside(given.x, settings["box"])
    found, failure = attack(net, settings, callback)
    on_data = on_held_out = None
    if given is not None:
        matches = compare(net, settings, found, given.x)
        on_data = OnData(given.x, given.y, *measure_conditions(net, given.x, given.y), matches)
        if unseen is not None:
            on_held_out = measure_held_out(net, settings, found, on_data, unseen)
    return Audit(net, image_shape, settings, found, failure, on_data, on_held_out)


def measure_conditions(net: MLP, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Measure the margins (n,), and the KKT conditions with the floors of the residual."""
    net = net.astype(np.float64)
    equation = Equation(net, x, y)
    u, multipliers = equation.margins, equation.fit()  # (n,)
    layer_1 = (1.0, *(0.0,) * (net.depth - 1))
    loss, decayed = best_decay(net, equation.x, equation.y)
    numbers = {
        "samples": len(u),
        "misclassified": int(np.sum(u <= 0)),
        "margin_min": float(u.min()),
        "margin_median": float(np.median(u)),
        "margin_max": float(u.max()),
        "floor": equation.norms(multipliers).relative,
        "floor_layer_1": equation.floor(layer_1).by_layer[0],
        "floor_weight_decay": decayed.stationarity.relative,
        "problem_that_fits": "max margin",
    }
    fits = decayed.stationarity.relative < DECAY_RESIDUAL
    if fits and decayed.decay is not None and decayed.decay > DECAY:
        numbers |= {"problem_that_fits": f"weight decay on {loss}", "weight_decay": decayed.decay}
    if u.min() > 0:  # else there is no margin
        numbers |= equation.report(multipliers).as_dict()
    return u, numbers


def measure_held_out(
    net: MLP, settings: dict[str, Any], found: Reconstruction, data: OnData, x: np.ndarray
) -> OnHeldOut:
    """Compare the training data with held-out samples (m, d), by the candidates and by membership.

    Of more than 5,000 training samples as many are drawn for the scores of membership.
    """
    matches = compare(net, settings, found, x[: len(data.x)])
    sign = 1.0 if net.d > 2 else -1.0  # in the plane the scores are distances
    rows, n = np.arange(len(data.x)), min(len(data.x), MOST // 2)
    reconstruction = _evidence(rows, sign * data.matches.score, sign * matches.score)
    rows = np.sort(np.random.default_rng(0).choice(rows, n, replace=False))
    score = membership_scores(net, np.concatenate([data.x[rows], x[: MOST - n]])).score
    return OnHeldOut(x, matches, reconstruction, _evidence(rows, score[:n], score[n:]))


def compare(net: MLP, settings: dict[str, Any], found: Reconstruction, x: np.ndarray) -> Comparison:
    """Match candidates one to one with samples: by NCC, or for d = 2 by distance."""
    kinks = {KINKS: float(np.mean(kinks_at(net.astype(np.float64), x)))}
    candidate = np.full(len(x), -1)
    if not len(found.labels):
        return Comparison(candidate, np.full(len(x), -np.inf if net.d > 2 else np.inf), kinks)
    if net.d > 2:
        matched = match_one_to_one(ncc_all_pairs(x, np.float64(found.candidates)))
        counts = {f"samples with NCC >= {level}": matched.count(level) for level in (0.8, 0.9)}
        mean = {"NCC, mean of the ten best": matched.top_mean(10)}
        return Comparison(matched.candidate, matched.score, counts | mean | kinks)
    near = {
        radius: match_points(x, found.candidates, radius, found.multipliers)
        for radius in default_step(settings["box"]) * np.array(RADII)
    }
    widest = next(iter(near.values()))
    candidate[widest.pairs[:, 0]] = widest.pairs[:, 1]
    counts = {f"samples within {radius:.2g}": match.matched for radius, match in near.items()}
    strays = {
        "candidates near none": widest.strays,
        "their share of the multipliers": widest.stray_mass,
    }
    return Comparison(candidate, widest.distances, counts | strays | kinks)


def _evidence(rows: np.ndarray, members: np.ndarray, others: np.ndarray) -> Evidence:
    return Evidence(rows, members, others, roc(members, others))
