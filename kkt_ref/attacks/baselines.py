r"""What the attack is compared with: model inversion, first-layer rows, class averages.

None of them uses the KKT conditions.  The first two are those of the paper (its
section 5.3 and appendix); an average of training images is no attack at all, and shows
how high a score a blur of the right class gets.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, minimize

from kkt_ref._validation import (
    as_array,
    check_count,
    check_numbers,
    check_positive,
)
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

Array = np.ndarray


def model_inversion(
    net: MLP,
    *,
    low: Array,
    high: Array,
    starts: int,
    seed: int,
    start: float = 0.1,
    max_iterations: int = 100,
) -> tuple[Array, Array]:
    """Maximise Φ for one half of the starts, −Φ for the other, within a box.

    Parameters
    ----------
    net : MLP
    low, high : arrays of shape (d,)
        The box; for images with pixels in [0, 1], −mean and 1 − mean.
    starts : int
        Number of random starts, even.
    seed : int
    start : float
        Standard deviation of the starts, clipped to the box.
    max_iterations : int
        Of L-BFGS-B.

    Returns
    -------
    x : array of shape (starts, d)
    y : array of shape (starts,)
        Which class each maximises, −1 or +1.

    Raises
    ------
    ValueError, TypeError
        If an argument is off.
    """
    check_net(net)
    net = net.astype(np.float64)
    starts = check_count(starts, "starts", 2)
    max_iterations = check_count(max_iterations, "max_iterations")
    low, high = _check_edge(low, "low", net.d), _check_edge(high, "high", net.d)
    if not np.all(low < high):
        raise ValueError("low, high: expected finite arrays of shape (d,) with low < high")
    start = check_positive(start, "start")
    rng = np.random.default_rng(check_count(seed, "seed", 0))
    y = np.where(np.arange(starts) % 2 == 0, -1.0, 1.0)  # (starts,)
    x = np.clip(start * rng.normal(size=(starts, net.d)), low, high)  # (starts, d)

    def descend(vector: Array) -> tuple[float, Array]:
        points = vector.reshape(starts, net.d)
        trace = closed_form.forward(net, points)
        gradient = closed_form.signals(net, trace).deltas[0] @ net.weights[0]  # ∇_xΦ, (starts, d)
        return -float(y @ trace.outputs), (-y[:, None] * gradient).ravel()

    bounds = Bounds(np.tile(low, starts), np.tile(high, starts))
    options = dict(maxiter=max_iterations, ftol=0.0, gtol=1e-10)
    result = minimize(
        descend, x.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return result.x.reshape(starts, net.d), y


def _check_edge(edge: Array, name: str, d: int) -> Array:
    edge = as_array(edge, name)
    return np.array(check_numbers(np.full(d, edge) if edge.ndim == 0 else edge, name, d))


def first_layer_rows(net: MLP) -> Array:
    """Return the rows of W₁ as images, both signs, shape (2 h, d), float64."""
    check_net(net)
    W = net.weights[0].astype(np.float64)
    W = W[np.linalg.norm(W, axis=1) > 0]
    return np.stack([W, -W], axis=1).reshape(-1, W.shape[1])  # (2 h, d)
