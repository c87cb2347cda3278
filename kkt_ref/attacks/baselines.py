"""What an attack is compared with: model inversion, and the rows of the first layer.

Neither uses the KKT conditions.  Both are baselines of Haim et al. 2022 (section 5.3 and
appendix).  Names of dimensions: d inputs, h neurons of layer 1.
"""

import numpy as np
import scipy

from kkt_ref._validation import check_count, check_numbers
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.stationarity import closed_form


def model_inversion(
    net: MLP,
    *,
    low: np.ndarray,
    high: np.ndarray,
    starts: int,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise Φ from one half of the starts and −Φ from the other half, within a box.

    ``low`` and ``high`` (d,) are the edges of the box.  Returns the images (starts, d) and the
    class that each maximises, -1 or +1.
    """
    check_mlp(net, K=1)
    net = net.astype(np.float64)
    starts = check_count(starts, "starts", 2)
    low, high = (np.array(check_numbers(edge, "low, high", net.d)) for edge in (low, high))
    if not np.all(low < high):
        raise ValueError("low, high: expected low < high in every coordinate; exchange them")
    rng = np.random.default_rng(check_count(seed, "seed", 0))
    y = np.where(np.arange(starts) % 2 == 0, -1.0, 1.0)  # (starts,)
    x = np.clip(0.1 * rng.normal(size=(starts, net.d)), low, high)  # (starts, d)

    def descend(vector: np.ndarray) -> tuple[float, np.ndarray]:
        trace = closed_form.forward(net, vector.reshape(starts, net.d))
        back = closed_form.backward(trace, y[:, None])
        return -float(y @ trace.outputs), -(back.deltas[0] @ net.weights[0]).ravel()  # −y ∇_xΦ

    bounds = scipy.optimize.Bounds(np.tile(low, starts), np.tile(high, starts))
    options = dict(maxiter=100, ftol=0.0, gtol=1e-10)
    result = scipy.optimize.minimize(
        descend, x.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return result.x.reshape(starts, net.d), y


def first_layer_rows(net: MLP) -> np.ndarray:
    """Return the rows of W₁ that are not zero, with both signs, shape (2 h, d), float64."""
    check_mlp(net)
    W = net.weights[0].astype(np.float64)
    W = W[np.linalg.norm(W, axis=1) > 0]
    return np.stack([W, -W], axis=1).reshape(-1, W.shape[1])  # (2 h, d)
