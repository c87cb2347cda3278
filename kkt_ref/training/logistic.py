r"""The logistic loss log(1 + exp(−margin)) in the log domain.

Past a margin of about 740 the loss underflows; its logarithm and the weights
that it puts on the samples do not.
"""

from __future__ import annotations

from typing import Any

from kkt_ref.stationarity.backend import namespace

Array = Any


def log_loss_terms(margins: Array) -> Array:
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
    xp = namespace(margins)
    near = xp.clip(margins, max=40.0)
    softplus = xp.logaddexp(xp.zeros_like(near), -near)
    return xp.where(margins > 40.0, -margins, xp.log(softplus))


def log_mean_loss(margins: Array) -> float:
    """log of the mean logistic loss."""
    return float(_log_mean_exp(log_loss_terms(margins)))


def loss_weights(margins: Array) -> Array:
    """−∂ log(mean loss)/∂margin_i, of shape (n,): positive, sum ≤ 1.

    They are the mean loss's own weights σ(−margin_i)/n divided by the mean loss,
    formed in the log domain.
    """
    xp = namespace(margins)
    log_sigmoid = -xp.logaddexp(xp.zeros_like(margins), margins)
    log_mean = _log_mean_exp(log_loss_terms(margins))
    return xp.exp(log_sigmoid - log_mean) / margins.shape[0]


def _log_mean_exp(terms: Array) -> Array:
    xp = namespace(terms)
    top = xp.max(terms)
    return top + xp.log(xp.mean(xp.exp(terms - top)))
