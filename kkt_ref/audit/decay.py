"""The loss whose weight decay explains the weights of a classifier best."""

import numpy as np

from kkt_ref.kkt.weight_decay import DecayFit, weight_decay_stationarity
from kkt_ref.network.protocol import Network


def best_decay(net: Network, x: np.ndarray, y: np.ndarray) -> tuple[str, DecayFit]:
    """Return the name of the loss, and its fit, for samples x (n, d) and labels or classes y (n,).

    Each loss leaves one number free, μ.  Training without decay to a small loss ℓ looks like decay
    with a tiny μ, of about L ℓ log(1/ℓ) / ‖θ‖².  The targets of "mse" and "huber" are y, or for
    several outputs 1 for the class and 0 elsewhere; these two differ only for outputs that are more
    than 1 from their target.
    """
    numbers = y if net.K == 1 else np.eye(net.K)[y]  # (n,) or (n, K)
    targets = {"logistic" if net.K == 1 else "cross_entropy": y, "mse": numbers, "huber": numbers}
    fits = {loss: weight_decay_stationarity(net, x, t, loss=loss) for loss, t in targets.items()}
    best = min(fits, key=lambda loss: fits[loss].stationarity.relative)
    return best, fits[best]
