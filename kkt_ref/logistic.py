r"""The logistic loss log(1 + exp(−margin)) in the log domain.

Past a margin of about 740 the loss underflows; its logarithm and the weights
that it puts on the samples do not.
"""

from __future__ import annotations

import numpy as np


def log_loss_terms(margins: np.ndarray) -> np.ndarray:
    """log log(1 + exp(−margin)), elementwise, with no overflow and no underflow.

    Parameters
    ----------
    margins : array
        y_i Φ(θ; x_i).

    Returns
    -------
    array like ``margins``
    """
    # for large margins log1p(e^-u) = e^-u, whose logarithm is -u to rounding
    near = np.minimum(margins, 40.0)
    return np.where(margins > 40.0, -margins, np.log(np.logaddexp(0.0, -near)))


def log_mean_loss(margins: np.ndarray) -> float:
    """log of the mean logistic loss."""
    terms = log_loss_terms(margins)
    top = terms.max()
    return float(top + np.log(np.mean(np.exp(terms - top))))


def loss_weights(margins: np.ndarray) -> np.ndarray:
    """−∂ log(mean loss)/∂margin_i, of shape (n,): positive, sum ≤ 1.

    They are the mean loss's own weights σ(−margin_i)/n divided by the mean loss,
    formed in the log domain.
    """
    log_sigmoid = -np.logaddexp(0.0, margins)
    return np.exp(log_sigmoid - np.log(len(margins)) - log_mean_loss(margins))
