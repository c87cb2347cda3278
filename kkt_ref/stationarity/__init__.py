"""θ − Σ λ_i y_i ∇θΦ(θ; x_i), its square and its gradient.

Read ``definition`` first: the loss by a loop and autograd.  ``problems`` and ``losses`` say what
the coefficients of ∇θΦ are for several outputs.  ``closed_form`` is the same as the definition,
fast; ``layer_residual`` is a part of it.  ``evaluation`` hides the kind of network; ``backend``
says where arrays live.
"""

from kkt_ref.stationarity.definition import stationarity_residual
from kkt_ref.stationarity.losses import loss_by_name
from kkt_ref.stationarity.problems import Classes, Regression, RunnerUp, TwoClasses, WeightDecay

__all__ = [
    "Classes",
    "Regression",
    "RunnerUp",
    "TwoClasses",
    "WeightDecay",
    "loss_by_name",
    "stationarity_residual",
]
