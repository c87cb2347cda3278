r"""Stationarity under weight decay: the outputs themselves say what the multipliers are.

At a stationary point of (1/n) Σ_i ℓ(Φ(x_i), y_i) + (μ/2)‖θ‖²,

    θ = (1/μ) g,    g = −(1/n) Σ_ic (∂ℓ/∂Φ_c)(x_i) ∇θΦ_c(x_i),

with or without biases, homogeneous or not.  If μ is unknown, the one that fits best is
μ = ‖g‖² / ⟨θ, g⟩, provided that ⟨θ, g⟩ > 0.
"""

from typing import NamedTuple

import numpy as np

from kkt_ref._validation import check_positive
from kkt_ref.kkt.conditions import Stationarity, residual_norms
from kkt_ref.network.base import Network, check_nonzero
from kkt_ref.stationarity.evaluation import Equation
from kkt_ref.stationarity.losses import loss_by_name
from kkt_ref.stationarity.problems import WeightDecay


class DecayFit(NamedTuple):
    """How well the outputs of a network explain its weights under weight decay."""

    stationarity: Stationarity
    decay: float | None  # μ, as given or as fits best; None if no μ > 0 explains any of θ
    multipliers: np.ndarray  # that the outputs imply, (n,) or (n, K); 0 if μ is None


def weight_decay_stationarity(
    net: Network, x: np.ndarray, y: np.ndarray, *, loss: str, decay: float | None = None
) -> DecayFit:
    """The residual of stationarity with the multipliers that the outputs imply.

    Parameters
    ----------
    net : MLP or CNN
    x : array of shape (n, d), dtype as the network's
    y : array
        Labels -1 and +1 (n,) for "logistic", classes 0 ... K-1 (n,) for "cross_entropy", real
        numbers (n, K), or (n,) for one output, for "mse" and "huber".
    loss : {"logistic", "cross_entropy", "mse", "huber"}
        The mean over the samples, for the last two over the outputs as well, as in PyTorch.
    decay : float, optional
        μ > 0; that which fits best unless given.  PyTorch's ``weight_decay`` is this μ if all
        parameters are decayed and the loss is the mean.

    Returns
    -------
    DecayFit

    Raises
    ------
    ValueError, TypeError
        If a target does not fit the loss or the network, or ``decay`` is not > 0.

    Notes
    -----
    Source: the stationary point of the training objective, by its derivative.
    """
    return _fit(Equation(net, x, y, WeightDecay(loss_by_name(loss))), decay)


def _fit(equation: Equation, decay: float | None = None) -> DecayFit:
    net = equation.net
    check_nonzero(net)
    pull = equation.gradient_sum(np.ones(equation.shape, net.dtype))  # g
    flat, theta = np.concatenate([g.ravel() for g in pull]), net.theta  # (P,)
    if decay is None:
        along = float(theta @ flat)
        decay = float(flat @ flat) / along if along > 0 else None
    else:
        decay = check_positive(decay, "decay")
    inverse = 0.0 if decay is None else 1.0 / decay
    norms = residual_norms(net, [g * inverse for g in pull])
    implied = equation.problem.multipliers(equation.y, equation.here.outputs)
    return DecayFit(norms, decay, implied * inverse)


def best_decay(net: Network, x: np.ndarray, y: np.ndarray) -> tuple[str, DecayFit]:
    """The loss whose weight decay explains the weights of a classifier best.

    Each loss leaves one number free, μ.  Training without decay to a small loss ℓ looks like
    decay with a tiny μ, of about L ℓ log(1/ℓ) / ‖θ‖².  "mse" and "huber" differ only for outputs
    that are more than 1 from their target.

    Parameters
    ----------
    net, x, y
        As in :func:`kkt_ref.margins`.

    Returns
    -------
    loss : {"logistic", "cross_entropy", "mse", "huber"}
        The targets of the last two are y, or for several outputs 1 for the class and 0 elsewhere.
    fit : DecayFit
        That of this loss.
    """
    return best_fit(Equation(net, x, y))


def best_fit(equation: Equation) -> tuple[str, DecayFit]:
    """As :func:`best_decay`, for the equation of max-margin; the network is not evaluated again."""
    net, x, y = equation.net, equation.x, equation.y
    numbers = y if net.K == 1 else np.eye(net.K)[y]  # (n,) or (n, K)
    targets = {"logistic" if net.K == 1 else "cross_entropy": y, "mse": numbers, "huber": numbers}
    fits = {
        loss: _fit(Equation(net, x, target, WeightDecay(loss_by_name(loss)), equation.here))
        for loss, target in targets.items()
    }
    best = min(fits, key=lambda loss: fits[loss].stationarity.relative)
    return best, fits[best]
