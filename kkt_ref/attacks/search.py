r"""Random search over the paper's settings, on one machine, with its results on disk.

The authors drew the x step, the start σ, λ_min and α at random for a hundred runs
in a hosted service and chose by comparing with the training data (their appendix B).
Here each trial is a file, a search goes on where it stopped, and the choice needs no
data: every trial is two starts, and it is judged by how well they agree, for what is
real comes back and what is accidental does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._io import claim, fingerprint, write_atomically
from kkt_ref._validation import check_box, check_count
from kkt_ref.attacks.haim import reconstruct_paper
from kkt_ref.attacks.haim_loss import gate_alpha
from kkt_ref.attacks.pooling import agreements
from kkt_ref.metrics.ncc import unit_images
from kkt_ref.network._validation import check_layer_weights, check_net
from kkt_ref.network.mlp import MLP


class Trial(NamedTuple):
    """One draw of the settings and what came of it, without a look at the data."""

    number: int
    alpha: float  # sharpness of the gates
    lambda_min: float
    start: float  # σ of the candidates' start
    iterations: int  # of L-BFGS: the steps
    residual: float  # relative, of the better start; not comparable between different α
    agreement: float  # mean over the best-agreeing tenth of the candidates, in [0, 1]


def draw_settings(net: MLP, *, candidates: int, iterations: int, seed: int, number: int) -> Trial:
    """Draw one trial's settings: log-uniform α, start and steps, uniform λ_min.

    α opens the gates over 0.01 to 1 in input units, start is 1e-3 to 1, the steps are a
    tenth of ``iterations`` to all, and λ_min is 0 to 0.05 times ‖θ₁‖²/m: by Euler's
    identity Σ λ_i y_iΦ(x_i) = ‖θ₁‖², so that the mean of λ is that over the margin.
    """
    rng = np.random.default_rng([seed, number])
    unit = float(np.sum(net.weights[0] ** 2)) / candidates
    return Trial(
        number=number,
        alpha=gate_alpha(net, 10 ** -rng.uniform(0, 2)),
        lambda_min=float(rng.uniform(0, 0.05) * unit),
        start=float(10 ** rng.uniform(-3, 0)),
        iterations=max(1, round(iterations * 10 ** rng.uniform(-1, 0))),
        residual=1.0,
        agreement=0.0,
    )


def random_search(
    net: MLP,
    folder: str | Path,
    *,
    candidates: int,
    trials: int,
    seed: int,
    iterations: int = 300,
    box: tuple[float, float] = (-1.0, 1.0),
    layer_weights: Any = None,
    callback: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Search over (α, λ_min, start, steps) of :func:`~kkt_ref.attacks.haim.reconstruct_paper`.

    Parameters
    ----------
    net : MLP
        The trained network, in float64.
    folder : path-like
        Gets a JSON file for each trial and, in an npz beside it, the candidates and
        multipliers; trials found there are not run again.
    candidates : int
        m, for each of a trial's two starts.
    trials : int
    seed : int
        Trial t depends on the seed and t alone.
    iterations : int
        Largest number of L-BFGS iterations of a start.
    box, layer_weights
        As in :func:`~kkt_ref.attacks.haim.reconstruct_paper`.
    callback : callable, optional
        Called with each new trial.

    Returns
    -------
    list of Trial
        Best agreement first.

    Raises
    ------
    ValueError, TypeError
        If an argument is off, or the folder belongs to another search.
    """
    check_net(net)
    candidates, trials = check_count(candidates, "candidates"), check_count(trials, "trials")
    iterations, seed = check_count(iterations, "iterations"), check_count(seed, "seed", 0)
    box = check_box(box)
    weights = None if layer_weights is None else list(check_layer_weights(layer_weights, net))
    folder = claim(
        folder,
        {
            "search": fingerprint(*net.arrays),
            "candidates": candidates,
            "seed": seed,
            "iterations": iterations,
            "box": list(box),
            "layer_weights": weights,
        },
    )
    done = []
    for number in range(trials):
        path = folder / f"trial_{number:04d}.json"
        if path.exists():
            done.append(_load_trial(path))
            continue
        trial = draw_settings(
            net, candidates=candidates, iterations=iterations, seed=seed, number=number
        )
        found = reconstruct_paper(
            net,
            candidates=candidates,
            seed=int(np.random.default_rng([seed, number, 1]).integers(2**31)),
            box=box,
            start_scale=trial.start,
            lambda_min=trial.lambda_min,
            alpha=trial.alpha,
            layer_weights=layer_weights,
            restarts=2,
            max_iterations=trial.iterations,
        )
        agreement = np.sort(agreements(unit_images(found.candidates), found.run_index))
        trial = trial._replace(
            residual=min(run.objective for run in found.runs) ** 0.5,
            agreement=float(agreement[-max(1, candidates // 5) :].mean()),
        )
        with write_atomically(path.with_suffix(".npz")) as file:
            np.savez(file, candidates=found.candidates, multipliers=found.multipliers)
        with write_atomically(path) as file:  # last: a trial with this file is complete
            file.write(json.dumps(trial._asdict(), indent=2).encode())
        done.append(trial)
        if callback is not None:
            callback(trial)
    return sorted(done, key=lambda trial: -trial.agreement)


def _load_trial(path: Path) -> Trial:
    try:
        trial = Trial(**json.loads(path.read_text()))
        for name, value in trial._asdict().items():
            if type(value) not in (int, float) or not np.isfinite(value):
                raise ValueError(f"{name} is {value!r}")
        return trial
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a trial of this search, but {error}; delete the file to run it again"
        ) from error
