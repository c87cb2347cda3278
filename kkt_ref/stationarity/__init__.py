"""θ − Σ λ_i y_i ∇θΦ(θ; x_i), its square and its gradient.

Read ``definition`` first: the loss by a loop and autograd.  ``closed_form`` is the same, fast;
``layer_residual`` is a part of it, and ``backend`` says where its arrays live.
"""

from kkt_ref.stationarity.definition import stationarity_residual

__all__ = ["stationarity_residual"]
