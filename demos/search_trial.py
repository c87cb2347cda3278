"""One trial of the search of settings; worker processes import this file."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import kkt_ref
from kkt_ref.attacks.pooling import agreements
from kkt_ref.metrics.ncc import unit_images


class Trial(NamedTuple):
    """One draw of the settings, and what came of it."""

    number: int
    alpha: float  # sharpness of the gates
    lambda_min: float
    start_scale: float
    iterations: int  # of L-BFGS
    residual: float = 1.0  # relative, of the better run; not comparable between different α
    agreement: float = 0.0  # mean over the best-agreeing tenth of the candidates, in [0, 1]


def draw(net: kkt_ref.MLP, m: int, iterations: int, rng: np.random.Generator, number: int) -> Trial:
    """Draw the settings of a trial: log-uniform α, start and steps, and uniform λ_min.

    The gates open over 0.01 to 1 in units of the inputs.  λ_min is 0 to 0.05 times ‖θ₁‖²/m: by
    Euler's identity Σ λ_i y_iΦ(x_i) = ‖θ₁‖², so the mean of λ is ‖θ₁‖²/m over the margin.
    """
    mass = float(np.sum(net.weights[0] ** 2)) / m
    return Trial(
        number=number,
        alpha=kkt_ref.attacks.gate_alpha(net, 10 ** -rng.uniform(0, 2)),
        lambda_min=float(rng.uniform(0, 0.05) * mass),
        start_scale=float(10 ** rng.uniform(-3, 0)),
        iterations=max(1, round(iterations * 10 ** rng.uniform(-1, 0))),
    )


def run_trial(
    net: kkt_ref.MLP, m: int, iterations: int, seed: int, number: int
) -> tuple[Trial, np.ndarray]:
    """Attack twice with the settings of a trial; return it, and the candidates."""
    trial = draw(net, m, iterations, np.random.default_rng([seed, number]), number)
    found = attack_twice(
        net,
        m,
        int(np.random.default_rng([seed, trial.number, 1]).integers(2**31)),
        start_scale=trial.start_scale,
        lambda_min=trial.lambda_min,
        alpha=trial.alpha,
        max_iterations=trial.iterations,
    )
    agreement = np.sort(agreements(unit_images(found.candidates), found.run_index))
    trial = trial._replace(
        residual=found.runs[found.best].objective ** 0.5,
        agreement=float(agreement[-max(1, m // 5) :].mean()),
    )
    return trial, found.candidates


def attack_twice(net: kkt_ref.MLP, m: int, seed: int, **settings: Any) -> kkt_ref.Reconstruction:
    """Two runs of the paper's attack on the first layer."""
    return kkt_ref.attacks.reconstruct_paper(
        net,
        m=m,
        seed=seed,
        layer_weights=(1.0, *(0.0,) * (net.depth - 1)),
        restarts=2,
        workers=1,
        **settings,
    )


def default_candidates(net: kkt_ref.MLP, m: int, iterations: int, seed: int) -> np.ndarray:
    """The candidates of two runs with the settings of the image demos."""
    alpha = kkt_ref.attacks.gate_alpha(net, 0.25)
    return attack_twice(net, m, seed, alpha=alpha, max_iterations=iterations).candidates
