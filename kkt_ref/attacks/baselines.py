r"""What an attack is compared with: model inversion, and the rows of the first layer.

Neither uses the KKT conditions.  Both are the baselines of Haim et al. 2022 (section 5.3 and
appendix).  Names of dimensions: d inputs, h neurons of layer 1.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, minimize

from kkt_ref._validation import as_array, check_count, check_numbers, check_positive
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form


def model_inversion(
    net: MLP,
    *,
    low: np.ndarray,
    high: np.ndarray,
    starts: int,
    seed: int = 0,
    start_scale: float = 0.1,
    max_iterations: int = 100,
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise Φ from one half of the starts and −Φ from the other half, within a box.

    Parameters
    ----------
    net : MLP
    low, high : arrays of shape (d,), or numbers
        The box; for images with pixels in [0, 1], −mean and 1 − mean.
    starts : int
        Number of random starts, at least 2.
    seed : int
        Of the starts, N(0, start_scale²) clipped to the box.
    start_scale : float
        Standard deviation of the starts, > 0.
    max_iterations : int
        Of L-BFGS-B.

    Returns
    -------
    x : array of shape (starts, d)
    y : array of shape (starts,)
        The class that each maximises, −1 or +1.

    Raises
    ------
    ValueError
        If a number is out of its range, or not low < high in all d coordinates.
    TypeError
        If ``net`` is not an MLP.
    """
    check_net(net)
    net = net.astype(np.float64)
    starts = check_count(starts, "starts", 2)
    max_iterations = check_count(max_iterations, "max_iterations")
    low, high = _edge(low, "low", net.d), _edge(high, "high", net.d)
    if not np.all(low < high):
        raise ValueError("low, high: expected low < high in every coordinate; exchange them")
    start_scale = check_positive(start_scale, "start_scale")
    rng = np.random.default_rng(check_count(seed, "seed", 0))
    y = np.where(np.arange(starts) % 2 == 0, -1.0, 1.0)  # (starts,)
    x = np.clip(start_scale * rng.normal(size=(starts, net.d)), low, high)  # (starts, d)

    def descend(vector: np.ndarray) -> tuple[float, np.ndarray]:
        trace = closed_form.forward(net, vector.reshape(starts, net.d))
        gradient = closed_form.signals(net, trace).deltas[0] @ net.weights[0]  # ∇_xΦ, (starts, d)
        return -float(y @ trace.outputs), (-y[:, None] * gradient).ravel()

    bounds = Bounds(np.tile(low, starts), np.tile(high, starts))
    options = dict(maxiter=max_iterations, ftol=0.0, gtol=1e-10)
    result = minimize(
        descend, x.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return result.x.reshape(starts, net.d), y


def first_layer_rows(net: MLP) -> np.ndarray:
    """Return the rows of W₁ that are not zero, with both signs, shape (2 h, d), float64."""
    check_net(net)
    W = net.weights[0].astype(np.float64)
    W = W[np.linalg.norm(W, axis=1) > 0]
    return np.stack([W, -W], axis=1).reshape(-1, W.shape[1])  # (2 h, d)


def _edge(edge: np.ndarray, name: str, d: int) -> np.ndarray:
    edge = as_array(edge, name)
    return np.array(check_numbers(np.full(d, edge) if edge.ndim == 0 else edge, name, d))
