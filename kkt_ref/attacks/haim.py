r"""The attack of Haim et al. (2022), with L-BFGS-B in place of their SGD.

    min over x_1..x_m in the box, λ_i ≥ λ_min   of   ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²

from random starts; for K classes with Σ_j λ_ij (e_{y_i} − e_j) in place of λ_i y_i, and in
regression with λ_i of any sign.  The optimiser holds the bounds exactly, so that the penalties of
the published loss are not needed.  As in the paper, smooth gates σ(αz) replace ReLU's in ∇θΦ.

Names of dimensions: m candidates, d inputs, L layers.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import scipy

from kkt_ref._parallel import Workers, check_workers, run_all
from kkt_ref._validation import (
    check_count,
    check_multipliers,
    check_positive,
)
from kkt_ref.attacks.base import Callback, Reconstruction, measured_run
from kkt_ref.attacks.haim_loss import RelativeLoss, checked_options
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.backend import Backend
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.problems import (
    Problem,
    check_samples,
    coefficients_of,
    max_margin,
    shape_of,
)

Event = tuple[str, int, np.ndarray, np.ndarray]  # what a callback is told


def reconstruct_paper(
    net: MLP,
    *,
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    workers: Workers = None,
    labels: Any = None,
    start_scale: float = 0.1,
    lambda_min: float = 0.0,
    alpha: float | Sequence[float] = 100.0,
    layer_weights: Any = None,
    slackness: float = 0.0,
    max_iterations: int = 1000,
    backend: str | Backend = "numpy",
    dtype: Any = np.float64,
    problem: Problem | None = None,
) -> Reconstruction:
    """Reconstruct training data by stationarity alone, from random starts.

    Parameters
    ----------
    net : MLP
        In float64.
    candidates, box, seed, restarts, callback, workers
        As in :func:`kkt_ref.reconstruct`.  The candidates must outnumber the training samples
        (paper: m ≥ 2n).  Unless given, the box is (-1, 1) and there is one run.  The callback
        is called for each iteration, and its stage is "moved"; several runs tell all their
        iterations when they end, unless ``workers`` is 1.
    labels : array of shape (m,), entries -1 and +1, or classes 0 ... K-1, optional
        All equally often unless given.
    start_scale : float
        Standard deviation of the candidates' start, > 0.
    lambda_min : float
        Lower bound of the multipliers, ≥ 0.
    alpha : float or sequence of float
        Sharpness of the gates; a sequence is a schedule, and each entry has its own
        ``max_iterations``.  Softplus networks keep their own gates.
    layer_weights : sequence of L numbers ≥ 0, optional
        Weights w_l of the layers; ones unless given.
    slackness : float
        ρ ≥ 0, weight of complementary slackness with a free margin.
    max_iterations : int
        L-BFGS iterations for each run and α.
    backend : "numpy", "cupy" or Backend
        Where the loss is evaluated.
    dtype : float64 or float32
        In which the loss is evaluated; float32 is faster and ends earlier, by rounding.
    problem : Problem, optional
        That of two or of K classes unless given.  RunnerUp() is the published one for K classes
        (Buzaglo et al., NeurIPS 2023); its loss jumps where another class becomes the runner-up.
        Regression() is for networks that were trained to real numbers.

    Returns
    -------
    Reconstruction
        The candidates of all runs.  The objective is Σ_l w_l ‖r‖²_l / Σ_l w_l ‖θ‖²_l
        + ρ · slackness, with r the residual with the gates of the last α.

    Raises
    ------
    ValueError
        If a number is missing or out of its range, ``labels`` are not m labels -1 and +1,
        or all layers of weight > 0 are zero.
    TypeError
        If ``net`` is not an MLP in float64.
    BackendError
        If this machine cannot give the backend.

    Notes
    -----
    Source: loss and starts of Haim et al. 2022 (arXiv 2206.07758); L-BFGS-B, exact bounds, layer
    weights, slackness and the scale of λ at the start are this library's.  The starts are x
    from N(0, start_scale²), clipped to the box, and λ from U(0, 1) times the factor that makes
    ‖Σ λ_i y_i ∇Φ(x_i)‖ = ‖θ‖.
    """
    options: dict[str, Any] = dict(box=(-1.0, 1.0) if box is None else box, lambda_min=lambda_min)
    options |= dict(alpha=alpha, layer_weights=layer_weights, slackness=slackness)
    options |= dict(max_iterations=max_iterations, backend=backend, dtype=dtype)
    checked_options(net, **options)
    m, seed = check_count(candidates, "candidates"), check_count(seed, "seed", 0)
    restarts = 1 if restarts is None else check_count(restarts, "restarts")
    start_scale = check_positive(start_scale, "start_scale")
    problem = max_margin(net.K) if problem is None else problem
    y: Any = np.where(np.arange(m) < m // 2, -1.0, 1.0)  # (m,)
    if labels is not None or net.K > 1:
        spread = np.arange(m) % net.K if problem.signed else np.zeros((m, net.K))
        y = problem.check(spread if labels is None else labels, m, net.K, net.dtype, "labels")

    workers, runs = check_workers(workers), dict[int, Reconstruction]()
    run = partial(_run, net, y, seed, start_scale, options | {"problem": problem})

    def after(number: int, ended: tuple[Reconstruction, list[Event]]) -> None:
        runs[number] = ended[0]
        if callback is not None:
            for event in ended[1]:
                callback(*event)

    if callback is not None and (workers == 1 or (workers is None and restarts == 1)):
        run_all(partial(run, callback), range(restarts), after, seconds=0.0)
    else:
        evaluations = restarts * max_iterations * np.size(alpha)
        # one device serves one process
        each = 5e-4 + 6e-10 * m * net.theta.size if backend == "numpy" else 0.0
        run = partial(run, "later" if callback is not None else None)
        run_all(run, range(restarts), after, workers=workers, seconds=evaluations * each)
    ordered = [runs[number] for number in range(restarts)]
    return Reconstruction(
        np.concatenate([one.candidates for one in ordered]),
        np.concatenate([one.labels for one in ordered]),
        np.concatenate([one.multipliers for one in ordered]),
        np.repeat(np.arange(restarts), m),
        tuple(one.runs[0] for one in ordered),
        seed,
    )


def _run(
    net: MLP,
    y: np.ndarray,
    seed: int,
    start_scale: float,
    options: dict[str, Any],
    callback: Callback | Literal["later"] | None,
    number: int,
) -> tuple[Reconstruction, list[Event]]:
    """Return a run, and the events that its callback is to be told of later."""
    m, problem, events = len(y), options["problem"], list[Event]()
    directions = problem.directions(y, evaluate(net, np.zeros((m, net.d))).outputs)  # (m, J, K)
    # the generator number r of default_rng(seed).spawn(restarts)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    x = np.clip(rng.normal(0.0, start_scale, (m, net.d)), *options["box"])  # (m, d)
    multipliers = rng.uniform(0.0 if problem.signed else -1.0, 1.0, shape_of(directions))
    multipliers *= _norm_ratio(net, x, y, multipliers, problem)
    tell = callback if callable(callback) else lambda *event: events.append(event)
    told = callback and (lambda stage, _, x, lam: tell(stage, number, x, lam))
    return refine(net, x, y, multipliers, callback=told, **options), events


def refine(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    *,
    box: tuple[float, float] = (-1.0, 1.0),
    callback: Callback | None = None,
    lambda_min: float = 0.0,
    alpha: float | Sequence[float] = 100.0,
    layer_weights: Any = None,
    slackness: float = 0.0,
    max_iterations: int = 1000,
    backend: str | Backend = "numpy",
    dtype: Any = np.float64,
    problem: Problem | None = None,
) -> Reconstruction:
    """Move given candidates and multipliers downhill by L-BFGS-B.

    Parameters
    ----------
    net : MLP
        In float64.
    x : array of shape (m, d)
        The start; clipped to the box.
    y : array of shape (m,), entries -1 and +1, or classes 0 ... K-1
    multipliers : array of shape (m,), or (m, J) for J directions of the problem
        The start; raised to ``lambda_min``, unless the problem allows any sign.
    box, callback, lambda_min, alpha, layer_weights, slackness, max_iterations, backend, dtype, \
problem
        As in :func:`reconstruct_paper`.

    Returns
    -------
    Reconstruction
        One run, as in :func:`reconstruct_paper`; its seed is None.

    Raises
    ------
    ValueError, TypeError, BackendError
        As in :func:`reconstruct_paper`, or if ``x``, ``y`` or ``multipliers`` have other
        shapes, other dtypes than float64, or entries that are not finite.
    """
    given = box, lambda_min, alpha, layer_weights, slackness, max_iterations, backend, dtype
    (low, high), lambda_min, stages, weights, backend, dtype = checked_options(net, *given)
    x, y, problem = check_samples(net, x, y, problem)
    directions = problem.directions(y, evaluate(net, x).outputs)  # (m, J, K)
    multipliers = check_multipliers(multipliers, shape_of(directions), net.dtype)
    used = np.any(directions != 0, axis=2).reshape(multipliers.shape)  # λ of a zero D is fixed at 0

    def watch(intermediate_result: Any) -> None:  # the name is SciPy's convention
        if callback is not None:
            here, lam = loss.unpack(intermediate_result.x)
            callback("moved", 0, here, lam if lam.ndim == 1 else lam.sum(axis=1))

    limits = dict(maxiter=max_iterations, maxfun=20 * max_iterations)
    least = lambda_min if problem.signed else -np.inf
    x, multipliers = np.clip(x, low, high), np.where(used, np.maximum(multipliers, least), 0.0)
    steps = evaluations = 0
    for stage in stages:
        loss = RelativeLoss(stage, y, weights, slackness, backend, dtype, problem)
        loss.balance(x, multipliers)
        result = scipy.optimize.minimize(
            loss.value_and_gradient,
            loss.pack(x, multipliers),
            jac=True,
            method="L-BFGS-B",
            bounds=[(low, high)] * x.size
            + [(least / loss.scale, None) if free else (0.0, 0.0) for free in used.ravel()],
            callback=watch,
            options=dict(maxcor=20, ftol=0.0, gtol=1e-10, **limits),
        )
        x, multipliers = loss.unpack(result.x)
        multipliers = np.where(used, np.maximum(multipliers, least), 0.0)  # scaling may round
        steps, evaluations = steps + result.nit, evaluations + 1 + result.nfev
    reason = _stop_reason(result)
    run = measured_run(net, x, y, multipliers, result.fun, steps, evaluations, reason, problem)
    mass = multipliers if multipliers.ndim == 1 else multipliers.sum(axis=1)  # (m,)
    return Reconstruction(x, y, mass, np.zeros(len(y), int), (run,), None)


def _stop_reason(result: Any) -> str:
    if result.status == 0:
        return "The projected gradient fell below 1e-10."
    if result.status == 1:
        return f"All iterations allowed were done ({result.nit} in the last stage)."
    return "The line search found no lower value: rounding or a kink is in the way."


def _norm_ratio(
    net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, problem: Problem
) -> float:
    """‖θ‖ / ‖Σ U_ic ∇Φ_c(x_i)‖, or 1 where the sum is zero."""
    here = evaluate(net, x)
    directions = problem.directions(y, here.outputs)
    total = here.gradient_sum(coefficients_of(directions, multipliers))
    norm = np.sqrt(sum(float(np.sum(g * g)) for g in total))
    return float(np.linalg.norm(net.theta)) / norm if norm > 0 else 1.0
