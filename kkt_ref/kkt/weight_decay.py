r"""Stationarity under weight decay: the outputs themselves say what the multipliers are.

At a stationary point of (1/n) Σ_i ℓ(Φ(x_i), y_i) + (μ/2)‖θ‖²,

    θ = (1/μ) g,    g = −(1/n) Σ_ic (∂ℓ/∂Φ_c)(x_i) ∇θΦ_c(x_i),

with or without biases, homogeneous or not.  If μ is unknown, the one that fits best is
μ = ‖g‖² / ⟨θ, g⟩, provided that ⟨θ, g⟩ > 0.
"""

from typing import NamedTuple

import numpy as np

from kkt_ref._validation import check_positive
from kkt_ref.kkt.equation import Equation, Stationarity
from kkt_ref.network.protocol import Network, check_nonzero
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

    Network and samples as in :func:`kkt_ref.stationarity_loss`.

    Parameters
    ----------
    y : array
        Labels -1 and +1 (n,) for "logistic", classes 0 ... K-1 (n,) for "cross_entropy", real
        numbers (n, K), or (n,) for one output, for "mse" and "huber".
    loss : {"logistic", "cross_entropy", "mse", "huber"}
        The mean over the samples, for the last two over the outputs as well, as in PyTorch.
    decay : float, optional
        μ > 0; that which fits best unless given.  PyTorch's ``weight_decay`` is this μ if all
        parameters are decayed and the loss is the mean.
    """
    equation = Equation(net, x, y, WeightDecay(loss_by_name(loss)))
    check_nonzero(net)
    g = equation.right_side(np.ones(equation.shape, net.dtype))  # (P,)
    if decay is None:
        along = float(net.theta @ g)
        decay = float(g @ g) / along if along > 0 else None
    else:
        decay = check_positive(decay, "decay")
    inverse = 0.0 if decay is None else 1.0 / decay
    implied = equation.problem.multipliers(equation.y, equation.outputs)
    return DecayFit(equation.norms_of(g * inverse), decay, implied * inverse)
