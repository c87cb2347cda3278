"""Training data from the weights of a network, by the KKT conditions.

Reference implementation of Haim, Vardi, Yehudai, Shamir and Irani, "Reconstructing Training
Data from Trained Neural Networks", NeurIPS 2022 (arXiv 2206.07758), in NumPy, HIPS autograd
and SciPy.  This page lists the names that most users need; each package holds more:

    datasets       toys, MNIST and CIFAR-10
    network        the MLP as plain data, and how to bring another network
    files          networks in files
    training       descent towards a KKT point
    stationarity   θ − Σ λ_i y_i ∇θΦ(θ; x_i): the definition, and the fast closed form
    kkt            the four conditions as one report
    attacks        reconstruct, the published attack and loss, the other attacks
    metrics        scores against the training data and against unseen data
    conformance    checks of other implementations (``kkt-ref check``)
    audit          what weights reveal: ``audit.audit``, and the command ``kkt-ref audit``

An argument that does not fit raises ValueError or TypeError, and the message says what was
expected; docstrings name only the errors that are less obvious.  Modules write ``import scipy``,
which loads its parts when they are first used.
"""

from kkt_ref.attacks import Reconstruction, published_loss, reconstruct
from kkt_ref.conformance import check_implementation
from kkt_ref.files import from_state_dict, load_net, save_net
from kkt_ref.kkt.clarke import clarke_stationarity
from kkt_ref.kkt.equation import fit_multipliers, kkt_report, margins, residual_floor
from kkt_ref.metrics import match_points
from kkt_ref.network.activations import GatedReLU, ReLU, Softplus
from kkt_ref.network.mlp import MLP, init_paper, init_uniform
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.definition import (
    per_sample_gradients,
    stationarity_by_autograd,
    stationarity_loss,
)
from kkt_ref.training import gradient_descent, loss_scaled_descent

__version__ = "1.0.0"

__all__ = [
    "MLP",
    "GatedReLU",
    "ReLU",
    "Reconstruction",
    "Softplus",
    "check_implementation",
    "clarke_stationarity",
    "fit_multipliers",
    "from_state_dict",
    "gradient_descent",
    "init_paper",
    "init_uniform",
    "kkt_report",
    "load_net",
    "loss_scaled_descent",
    "margins",
    "match_points",
    "per_sample_gradients",
    "published_loss",
    "reconstruct",
    "residual_floor",
    "save_net",
    "stationarity_and_gradient",
    "stationarity_by_autograd",
    "stationarity_loss",
]
