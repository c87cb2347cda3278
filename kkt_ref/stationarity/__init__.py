"""θ − Σ λ_i y_i ∇θΦ(θ; x_i), its square and its gradient.

Read ``definition`` first: the loss by a loop and autograd.  ``closed_form`` is the same, fast;
``layer_residual`` is a part of it, and ``backend`` says where its arrays live.
"""

from kkt_ref.stationarity.backend import Backend, BackendError, get_backend
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.definition import (
    per_sample_gradients,
    stationarity_by_autograd,
    stationarity_loss,
    stationarity_residual,
)

__all__ = [
    "Backend",
    "BackendError",
    "get_backend",
    "per_sample_gradients",
    "stationarity_and_gradient",
    "stationarity_by_autograd",
    "stationarity_loss",
    "stationarity_residual",
]
