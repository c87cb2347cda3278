r"""Losses ℓ(Φ, y) of one sample, and the pull −∂ℓ/∂Φ that each of them has on the outputs.

    loss            ℓ                                 pull on output c
    logistic        log(1 + exp(−u)),  u = yΦ         y σ(−u)
    cross_entropy   log Σ_c exp(Φ_c − Φ_y)            1[c = y] − p_c,  p the softmax of Φ
    mse             (1/K) Σ_c (t_c − Φ_c)²            2 (t_c − Φ_c) / K
    huber           (1/K) Σ_c of a parabola near 0    clip(t_c − Φ_c, −1, 1) / K
                    and |t_c − Φ_c| − ½ beyond ±1

Cross-entropy is the logistic loss of the *soft margin* u = −log Σ_{c≠y} exp(Φ_c − Φ_y).  As in
PyTorch, training minimises the mean over the samples; mse and huber are means over the outputs too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from kkt_ref._validation import check_classes, check_labels, check_targets
from kkt_ref.stationarity.backend import namespace

Array = Any


@dataclass(frozen=True)
class Loss:
    """A loss of samples with targets ``y`` and outputs Φ of shape (n, K)."""

    name: str
    check: Callable[..., Array]  # as that of a problem
    value: Callable[[Array, Array], Array]  # ℓ, (n,)
    pull: Callable[[Array, Array], Array]  # −∂ℓ/∂Φ, (n, K)


def one_hot(y: Array, outputs: Array) -> Array:
    """Return 1 at the class of each sample and 0 elsewhere, shaped like outputs (n, K)."""
    xp = namespace(outputs)
    classes = xp.arange(outputs.shape[1], dtype=y.dtype, device=outputs.device)
    return xp.astype(y[:, None] == classes, outputs.dtype)  # (n, K)


def soft_margins(y: Array, outputs: Array) -> tuple[Array, Array]:
    """Return u_i, shape (n,), and ∂u_i/∂Φ, shape (n, K), for outputs of shape (n, K)."""
    if outputs.shape[1] == 1:
        return y * outputs[:, 0], y[:, None]
    xp, right = namespace(outputs), one_hot(y, outputs)  # (n, K)
    own = xp.sum(right * outputs, axis=1, keepdims=True)
    gaps = xp.where(right > 0, xp.full_like(outputs, -xp.inf), outputs - own)  # (n, K)
    top = xp.max(gaps, axis=1, keepdims=True)
    shares = xp.exp(gaps - top)
    total = xp.sum(shares, axis=1, keepdims=True)
    return -(top + xp.log(total))[:, 0], right - shares / total


def _logistic(outputs: Array, y: Array) -> Array:
    return np.logaddexp(0.0, -soft_margins(y, outputs)[0])  # (n,)


def _logistic_pull(outputs: Array, y: Array) -> Array:
    margins, directions = soft_margins(y, outputs)
    return scipy.special.expit(-margins)[:, None] * directions  # (n, K)


def _away(outputs: Array, y: Array) -> Array:
    return y.reshape(outputs.shape) - outputs  # t − Φ, (n, K)


# the functions of each loss, by its name
LOGISTIC = Loss("logistic", check_labels, _logistic, _logistic_pull)
CROSS_ENTROPY = Loss("cross_entropy", check_classes, _logistic, _logistic_pull)
MSE = Loss(
    "mse",
    check_targets,
    lambda outputs, y: np.mean(_away(outputs, y) ** 2, axis=1),
    lambda outputs, y: 2.0 * _away(outputs, y) / outputs.shape[1],
)
HUBER = Loss(
    "huber",
    check_targets,
    lambda outputs, y: np.mean(scipy.special.huber(1.0, _away(outputs, y)), axis=1),
    lambda outputs, y: np.clip(_away(outputs, y), -1.0, 1.0) / outputs.shape[1],
)
LOSSES = {loss.name: loss for loss in (LOGISTIC, CROSS_ENTROPY, MSE, HUBER)}


def loss_by_name(name: str) -> Loss:
    """Return the loss of this name; another name raises a ValueError."""
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]
