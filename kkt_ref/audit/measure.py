"""The measurements of an audit: the attack, the comparison with held-out samples, KKT conditions.

Names of dimensions: n training samples, m held-out samples, k candidates, d inputs.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import Shape
from kkt_ref.attacks import membership_scores, multiplier_scores
from kkt_ref.attacks.base import Callback, Reconstruction
from kkt_ref.attacks.membership import MOST, minus_log_p
from kkt_ref.attacks.plane import default_step
from kkt_ref.audit.attack import attack, attack_settings
from kkt_ref.audit.exchangeable import Differences, compare_files, placebo_networks, without_size
from kkt_ref.audit.inputs import (
    Samples,
    check_data,
    check_held_out,
    check_image_shape,
    check_inside,
)
from kkt_ref.kkt.equation import Equation
from kkt_ref.kkt.gram import MEMORY
from kkt_ref.kkt.weight_decay import DecayFit, weight_decay_stationarity
from kkt_ref.metrics.matching import match_one_to_one, match_points
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.roc import ROC, roc
from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network, check_net
from kkt_ref.stationarity.losses import LOSSES
from kkt_ref.stationarity.problems import RunnerUp

RADII = (2.5, 1.5, 0.5)  # of matches in the plane, in steps of the attack's grid
# what shows weight decay: training without it leaves a larger residual, or fits a tiny μ only
DECAY_RESIDUAL, DECAY = 0.5, 1e-5
PLACEBOS, WORST = 5, 0.2
# places of a projection, which loses evidence: of placebos, if gradients do not fit into memory,
# and of the network itself, if they fill it more than four times
PLACES, TIMES = 2**14, 4
MOST_MULTIPLIERS = 500  # the fit of the conditions takes time with the cube of their number


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
    p_alone: float = 1.0  # of no difference
    p: float = 1.0  # the same beyond what the sizes of rows and placebo weights show too


class OnData(NamedTuple):
    """Measurements that need training data."""

    x: np.ndarray  # (n, d)
    y: np.ndarray | None  # (n,) or (n, K)
    targets: str  # what y is, as in kkt_ref.audit.inputs.Samples
    margins: np.ndarray | None  # of classes: y_i Φ(x_i), (n,)
    matches: Comparison  # of the candidates with the training data
    # of classes, unless left out: floors of the residual, and the four conditions if q > 0
    conditions: dict[str, Any] | None = None

    @property
    def rows(self) -> np.ndarray:
        """The rows of x in the file, (n,)."""
        return np.arange(len(self.x))


class OnHeldOut(NamedTuple):
    """Measurements that need training data and held-out samples; copies of rows count once."""

    x: np.ndarray  # (n, d), the held-out samples that were drawn for the matches
    rows: np.ndarray  # (n,), their rows in the file
    matches: Comparison  # of the same candidates with the samples that were drawn
    reconstruction: Evidence
    membership: Evidence
    outputs: Evidence
    outputs_by: str  # "loss", or "confidence" if labels are missing
    distinct: tuple[int, int]  # rows of data and of held-out samples
    files: Differences  # between the two, without the network
    placebo_auc: float  # of the sum of the scores of membership with placebo weights
    placebo_p: float  # of the score with one placebo, the median


class Audit(NamedTuple):
    """All that an audit measures."""

    net: Network
    image_shape: Shape | None  # of a sample
    settings: dict[str, Any]  # the arguments of the attack
    found: Reconstruction
    failure: str  # why the attack found no candidate; empty if it found some
    data: OnData | None  # None if no data were given
    held_out: OnHeldOut | None  # None if no held-out samples were given


def audit(
    net: Network,
    data: Any = None,
    held_out: Any = None,
    *,
    image_shape: Shape | None = None,
    candidates: int | None = None,
    restarts: int | None = None,
    seed: int = 0,
    box: tuple[float, float] | None = None,
    conditions: bool = True,
    callback: Callback | None = None,
) -> Audit:
    """Attack a network, and compare what comes back with training data and held-out samples.

    Parameters
    ----------
    net : MLP of at least two inputs, or another network as in :class:`kkt_ref.network.Network`
        Another network is not attacked.  It is audited by the outputs and the multipliers
        (:func:`kkt_ref.attacks.multiplier_scores`) of data and held-out samples, which it needs
        both, with classes y.  Gradients of more than 4 GB in all are projected to 16,384 numbers.
    data : x or (x, y), optional
        Training data as the network saw them (scaled, mean subtracted): x floating, of shape
        (n, d), (n, H, W) or (n, C, H, W); y of -1 and +1, of classes 0 ... K-1, (n,), of zeros
        and ones (n, K) for several labels, or of real numbers.  They judge the attack, which does
        not see them.
    held_out : x or (x, y), optional
        m ≥ n samples of the same source that the network never saw; they show what chance does.
        Nothing but training may tell them from the data: both must be drawn from one pool, and
        the preprocessing must be fitted to both or to third samples.
    image_shape : (channels, height, width), optional
        Of a sample; unless given, that of x if x is not flat.  Images are attacked by
        :func:`kkt_ref.attacks.reconstruct_components`.
    candidates
        Of each start of :func:`kkt_ref.attacks.reconstruct_first_layer`, which then attacks images
        too; for d > 2 only.
    restarts
        As in :func:`kkt_ref.attacks.reconstruct`; for d > 2 only.
    seed
        Of the attack, and of the rows that are drawn.
    box
        As in :func:`kkt_ref.attacks.reconstruct`; for d = 2 only.
    conditions
        Whether the KKT conditions are measured, at the data and if y are classes.
    callback : callable, optional
        As in :func:`kkt_ref.attacks.reconstruct`; without candidates it is called as "attack"
        begins, with the number of starts as run, and as "evidence" and "conditions" begin.

    Returns
    -------
    Audit
        :func:`kkt_ref.audit.judge` draws the conclusion.
    """
    check_net(net)
    image_shape = check_image_shape(net, image_shape)
    given = None if data is None else check_data(net, data, image_shape)
    unseen = None if held_out is None else check_held_out(net, held_out, given)
    image_shape = given.shape if given else image_shape
    settings = attack_settings(net, image_shape, candidates, restarts, seed, box)
    if given is not None and "box" in settings:
        check_inside(given.x, settings["box"])
    if not isinstance(net, MLP):
        _check_other(net, given, unseen)

    tell, nothing = callback or (lambda *_: None), (np.zeros((0, net.d)), np.zeros(0))
    if settings:
        tell("attack", settings.get("restarts", 1), *nothing)
    found, failure = attack(net, settings, callback)
    on_data = on_held_out = None
    if given is not None:
        x, y, targets, _ = given
        margins = _equation(net, x, y).margins if targets == "classes" else None
        on_data = OnData(x, y, targets, margins, compare(net, settings, found, x))
        if unseen is not None:
            tell("evidence", 0, *nothing)
            on_held_out = measure_held_out(net, settings, found, on_data, unseen, seed)
        if conditions and margins is not None:
            tell("conditions", 0, *nothing)
            on_data = on_data._replace(conditions=measure_conditions(net, x, y, seed))
    return Audit(net, image_shape, settings, found, failure, on_data, on_held_out)


def _check_other(net: Network, data: Samples | None, held_out: Samples | None) -> None:
    """Raise unless a network that is no MLP can be audited with these samples."""
    if held_out is None or data is None or {data.targets, held_out.targets} != {"classes"}:
        raise ValueError(
            "data, held_out: expected both, each a pair (x, y) with classes y, because a network "
            "that is no MLP is audited by given samples alone"
        )


def _in_double(net: Network) -> Network:
    """Return an MLP in float64; another network may hold numbers that no array of it shows."""
    return net.astype(np.float64) if isinstance(net, MLP) else net


def _equation(net: Network, x: np.ndarray, y: Any, problem: RunnerUp | None = None) -> Equation:
    net = _in_double(net)
    return Equation(net, x.astype(net.dtype), y, problem)


def measure_conditions(net: Network, x: np.ndarray, y: Any, seed: int) -> dict[str, Any]:
    """Measure the KKT conditions with the floors of the residual.

    Of more than 500 constraints, those of the runner-up class are taken, and of more than 500
    samples as many are drawn.
    """
    net = _in_double(net)
    problem = RunnerUp() if net.K > 2 and len(x) * (net.K - 1) > MOST_MULTIPLIERS else None
    n = min(len(x), MOST_MULTIPLIERS)
    rows = np.sort(np.random.default_rng(seed).choice(len(x), n, replace=False))
    equation = _equation(net, x[rows], y[rows], problem)
    u, multipliers = equation.margins, equation.fit()  # (n,)
    layer_1 = (1.0, *(0.0,) * (net.depth - 1))
    loss, decayed = best_decay(equation)
    numbers = {
        "samples": n,
        "constraints": "of the runner-up class" if problem else "of all wrong classes",
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
    every_class = net.K == 1 or len(np.unique(y[rows])) == net.K
    if u.min() > 0 and every_class:  # else there is no margin
        numbers |= equation.report(multipliers).as_dict()
    return numbers


def best_decay(equation: Equation) -> tuple[str, DecayFit]:
    """Return the loss whose weight decay explains the weights of a classifier best, and its fit.

    Each loss leaves one number free, μ.  Training without decay to a small loss ℓ looks like decay
    with a tiny μ, of about L ℓ log(1/ℓ) / ‖θ‖².  The targets of "mse" and "huber" are y, or for
    several outputs 1 for the class and 0 elsewhere; these two differ only for outputs that are more
    than 1 from their target.
    """
    net, x, y = equation.net, equation.x, equation.y
    numbers = y if net.K == 1 else np.eye(net.K)[y]  # (n,) or (n, K)
    targets = {"logistic" if net.K == 1 else "cross_entropy": y, "mse": numbers, "huber": numbers}
    fits = {loss: weight_decay_stationarity(net, x, t, loss=loss) for loss, t in targets.items()}
    return min(fits.items(), key=lambda fit: fit[1].stationarity.relative)


def measure_held_out(
    net: Network,
    settings: dict[str, Any],
    found: Reconstruction,
    data: OnData,
    unseen: Samples,
    seed: int,
) -> OnHeldOut:
    """Compare training data and held-out samples, by the candidates, the weights and the outputs.

    Copies of a row count once.  Of more than 5,000 training samples as many are drawn, and
    the held-out samples are drawn too.
    """
    rng = np.random.default_rng(seed)
    own, rest = distinct_rows(data.x), distinct_rows(unseen.x)  # (n,), (m,)
    distinct = len(own), len(rest)
    drawn = np.sort(rng.choice(rest, min(len(rest), len(own)), replace=False))
    matches = compare(net, settings, found, unseen.x[drawn])
    mine = data.matches if len(own) == len(data.x) else compare(net, settings, found, data.x[own])
    sign = 1.0 if net.d > 2 else -1.0  # in the plane the scores are distances
    near, far = sign * mine.score, sign * matches.score
    reconstruction = _evidence(own, np.concatenate([near, far]))
    own = np.sort(rng.choice(own, min(len(own), MOST // 2), replace=False))
    rest = np.sort(rng.choice(rest, min(len(rest), MOST - len(own)), replace=False))
    x, n = np.concatenate([data.x[own], unseen.x[rest]]), len(own)
    y = None
    if data.y is not None and unseen.y is not None:
        y = np.concatenate([data.y[own], unseen.y[rest]])
    placebos = [weight_scores(p, x, y, data.targets) for p in placebo_networks(net, PLACEBOS, rng)]
    known = np.sum(placebos, axis=0)  # (N,)
    by_weights = weight_scores(net, x, y, data.targets, TIMES)
    by_outputs = output_scores(net, x, y, data.targets)
    left = [without_size(scores, x, known) for scores in (by_weights, by_outputs)]
    return OnHeldOut(
        x=unseen.x[drawn],
        rows=drawn,
        matches=matches,
        reconstruction=reconstruction,
        membership=_evidence(own, by_weights, left[0]),
        outputs=_evidence(own, by_outputs, left[1], worst_too=True),
        outputs_by="confidence" if y is None else "loss",
        distinct=distinct,
        files=compare_files(x, y, n, seed),
        placebo_auc=roc(known[:n], known[n:]).auc,
        placebo_p=float(np.median([roc(scores[:n], scores[n:]).p_all for scores in placebos])),
    )


def _evidence(
    rows: np.ndarray, scores: np.ndarray, left: np.ndarray | None = None, worst_too: bool = False
) -> Evidence:
    """Test scores of data and held-out samples, and what is left of them without other causes.

    ``worst_too`` tests in addition how few of the data are among the worst fifth: a network that
    fits its training samples gives none of them a large loss.
    """
    n, N, p_values = len(rows), len(scores), list[float]()
    for values in (scores, scores if left is None else left):
        p_values.append(roc(values[:n], values[n:]).p_all)
        if worst_too:
            worst = values <= np.sort(values)[int(WORST * N)]
            few = scipy.stats.hypergeom.cdf(worst[:n].sum(), N, n, worst.sum())
            p_values[-1] = min(1.0, 2 * min(p_values[-1], float(few)))
    members, others = scores[:n], scores[n:]
    return Evidence(rows, members, others, roc(members, others), p_values[0], max(p_values))


def distinct_rows(x: np.ndarray) -> np.ndarray:
    """Return one row of each set of equal rows of x (n, d), but two at least, in order."""
    rows = np.sort(np.unique(x, axis=0, return_index=True)[1])
    return rows if len(rows) > 1 else np.arange(2)


def weight_scores(
    net: Network, x: np.ndarray, y: np.ndarray | None, targets: str, times: int = 1
) -> np.ndarray:
    """Score membership by layer 1 of an MLP and, if y are classes, by the multipliers, (n,).

    Gradients of another network are projected if they fill the memory more than so many ``times``.
    """
    if not isinstance(net, MLP):
        places = None if len(x) * net.theta.nbytes <= times * MEMORY else PLACES
        return multiplier_scores(net, x.astype(net.dtype), y, projection=places).multiplier
    scores = membership_scores(net, x).score
    if y is not None and targets == "classes":
        scores += minus_log_p(multiplier_scores(_in_double(net), x, y).multiplier)
    return scores


def output_scores(net: Network, x: np.ndarray, y: np.ndarray | None, targets: str) -> np.ndarray:
    """Return minus the loss of each sample, or without y the confidence of its class, (n,)."""
    net = _in_double(net)
    outputs = np.asarray(net.outputs(x.astype(net.dtype)), np.float64)  # (n, K)
    if y is None and net.K == 1:
        loss = -np.abs(outputs[:, 0])
    elif y is None:
        top = np.sort(outputs, axis=1)
        loss = scipy.special.logsumexp(top[:, :-1], axis=1) - top[:, -1]
    elif targets == "labels":
        loss = np.sum(np.logaddexp(0.0, (1 - 2 * y) * outputs), axis=1)
    else:
        classes = "logistic" if net.K == 1 else "cross_entropy"
        loss = LOSSES["mse" if targets == "numbers" else classes].value(outputs, y)
    return -loss


def compare(
    net: Network, settings: dict[str, Any], found: Reconstruction, x: np.ndarray
) -> Comparison:
    """Match candidates one to one with samples: by NCC, or for d = 2 by distance."""
    candidate = np.full(len(x), -1)
    if not len(found.labels):
        none = {f"samples with NCC >= {level}": 0 for level in (0.8, 0.9) if net.d > 2}
        return Comparison(candidate, np.full(len(x), -np.inf if net.d > 2 else np.inf), none)
    if net.d > 2:
        matched = match_one_to_one(ncc_all_pairs(x, np.float64(found.candidates)))
        counts = {f"samples with NCC >= {level}": matched.count(level) for level in (0.8, 0.9)}
        return Comparison(*matched, counts | {"NCC, mean of the ten best": matched.top_mean(10)})
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
    return Comparison(candidate, widest.distances, counts | strays)
