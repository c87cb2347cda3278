r"""The paper's attack, from random starts.

    min over x_1..x_m, λ_1..λ_m   ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²

by L-BFGS-B in place of its SGD (:mod:`kkt_ref.attacks.refine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kkt_ref._validation import check_box, check_count, check_labels, check_positive
from kkt_ref.attacks.base import Callback, Reconstruction, with_copies
from kkt_ref.attacks.refine import refine
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.backend import Backend, get_backend


def reconstruct_paper(
    net: MLP,
    *,
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    labels: Any = "balanced",
    start_scale: float = 0.1,
    lambda_min: float = 0.0,
    alpha: float | Sequence[float] = 100.0,
    layer_weights: Any = None,
    slackness: float = 0.0,
    max_iterations: int = 1000,
    backend: str | Backend = "numpy",
    dtype: Any = np.float64,
) -> Reconstruction:
    """Reconstruct training data by the paper's loss alone, L-BFGS-B from random starts.

    Parameters
    ----------
    net : MLP
        The trained network, in float64.
    candidates : int
        m, for each run; it must be given, and exceed the number of training samples
        (paper: m ≥ 2n).
    box : (float, float), optional
        Bounds of every coordinate of the candidates; (-1, 1) unless given.
    seed : int
        Draws the starts: x from N(0, start_scale²) clipped to the box, λ from U(0, 1)
        times the scale that makes ‖Σλ_i y_i ∇Φ(x_i)‖ = ‖θ‖.
    restarts : int, optional
        Number of runs, each from its own start; one unless given.
    callback : callable, optional
        Called after each iteration as ``callback("moved", run, x, multipliers)`` with
        copies of the run's candidates (m, d) and multipliers (m,).
    labels : "balanced", "network" or array of shape (m,)
        Half +1 and half -1; the sign of Φ at the start; or given.
    start_scale : float
        Standard deviation of the candidates' start, > 0.
    lambda_min : float
        Lower bound of the multipliers, ≥ 0.
    alpha : float or sequence of float
        Sharpness of the gates σ(αz) that replace ReLU's in ∇θΦ; a sequence is a
        schedule, ``max_iterations`` for each.  Ignored by softplus networks.
    layer_weights : sequence of L numbers ≥ 0, optional
        Weights of the layers in the residual; ones unless given.
    slackness : float
        ρ ≥ 0, weight of complementary slackness with a free margin.
    max_iterations : int
        L-BFGS iterations for each start and α.
    backend : "numpy", "cupy" or Backend
        Where the loss is evaluated; only what L-BFGS needs crosses to the host.
    dtype : float64 or float32
        In which it is evaluated.  float32 is faster on most devices and ends earlier,
        at its rounding floor; squares are summed in float64 all the same.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError, TypeError
        If an argument is off; see the message.
    BackendError
        If this machine cannot give the backend.
    """
    if candidates is None:
        raise ValueError(
            "candidates: expected an integer, got None; the paper's attack needs the number of "
            "candidates, for example twice the number of training samples"
        )
    m, seed = check_count(candidates, "candidates"), check_count(seed, "seed", 0)
    restarts = 1 if restarts is None else check_count(restarts, "restarts")
    low, high = box = check_box((-1.0, 1.0) if box is None else box)
    report = with_copies(callback)
    start_scale = check_positive(start_scale, "start_scale")
    check_net(net)
    backend = get_backend(backend)
    if isinstance(labels, str) and labels not in ("balanced", "network"):
        raise ValueError(f"labels: expected 'balanced', 'network' or an array, got {labels!r}")
    if not isinstance(labels, str):
        labels = check_labels(labels, m, "labels")

    parts = []
    for rng in np.random.default_rng(seed).spawn(restarts):
        x = np.clip(rng.normal(0.0, start_scale, (m, net.d)), low, high)  # (m, d)
        multipliers = rng.uniform(0.0, 1.0, m)
        if not isinstance(labels, str):
            y = labels
        elif labels == "network":
            y = np.where(closed_form.forward(net, x).outputs >= 0, 1.0, -1.0)
        else:
            y = np.where(np.arange(m) < m // 2, -1.0, 1.0)
        run = len(parts)
        parts.append(
            refine(
                net,
                x,
                y,
                multipliers * _norm_ratio(net, x, y, multipliers),
                box=box,
                lambda_min=lambda_min,
                alpha=alpha,
                layer_weights=layer_weights,
                slackness=slackness,
                max_iterations=max_iterations,
                callback=lambda stage, _, cx, cl, run=run: report(stage, run, cx, cl),
                backend=backend,
                dtype=dtype,
            )
        )
    return Reconstruction(
        np.concatenate([p.candidates for p in parts]),
        np.concatenate([p.labels for p in parts]),
        np.concatenate([p.multipliers for p in parts]),
        np.repeat(np.arange(restarts), m),
        tuple(p.runs[0] for p in parts),
        seed,
    )


def _norm_ratio(net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray) -> float:
    """‖θ‖ / ‖Σ λ_i y_i ∇Φ(x_i)‖, or 1 where the sum is zero."""
    trace = closed_form.forward(net, x)
    back = closed_form.backward(net, closed_form.gates_of(net, trace), multipliers * y)
    total = closed_form.gradient_sum(net, trace, back)
    norm = np.sqrt(sum(float(np.sum(g * g)) for pair in total for g in pair if g is not None))
    return float(np.linalg.norm(net.theta)) / norm if norm > 0 else 1.0
