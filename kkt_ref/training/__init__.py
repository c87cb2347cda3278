"""Training towards a KKT point, listed in reading order.

descent       gradient descent on the logistic loss: the paper's, and loss-scaled
weight_decay  exact stationary points of the loss with weight decay
"""

from kkt_ref.training.descent import Record, TrainResult, gradient_descent, loss_scaled_descent
from kkt_ref.training.weight_decay import weight_decay_optimum

__all__ = [
    "Record",
    "TrainResult",
    "gradient_descent",
    "loss_scaled_descent",
    "weight_decay_optimum",
]
