"""kkt_ref: training data from the weights of a network, by the KKT conditions.

Reference implementation of Haim, Vardi, Yehudai, Shamir and Irani,
"Reconstructing Training Data from Trained Neural Networks", NeurIPS 2022
(arXiv 2206.07758), in NumPy, HIPS autograd and SciPy.  One idea a module; data
flows one way:

    data         toys, images
    network      mlp, activations, storage, torch_format
    train        descent, weight_decay
    definitions  gradients, stationarity (autograd);  closed_form (fast, equal)
    conditions   kkt, margin, multipliers, clarke
    reconstruct  reconstruct, by  kinks, vertices, grid (the plane: all four conditions),
                 first_layer, alternating, pooling (more), or objective, refine, paper;
                 search, resume
    evaluate     points, ssim, ncc, matching, scores, baselines
"""

from kkt_ref.attacks import reconstruct
from kkt_ref.attacks.base import Reconstruction
from kkt_ref.attacks.grid import find_margin, reconstruct_on_grid
from kkt_ref.attacks.haim import reconstruct_paper, refine
from kkt_ref.attacks.haim_loss import gate_alpha
from kkt_ref.attacks.pooling import reconstruct_first_layer
from kkt_ref.attacks.vertices import reconstruct_on_kinks
from kkt_ref.kkt.clarke import ClarkeFit, clarke_stationarity
from kkt_ref.kkt.conditions import (
    KKTReport,
    Stationarity,
    kkt_report,
    residual_floor,
    stationarity_norms,
)
from kkt_ref.kkt.margin import margins, normalised_margin
from kkt_ref.kkt.multipliers import fit_multipliers
from kkt_ref.metrics.matching import PointMatches, match_points
from kkt_ref.network.activations import GatedReLU, ReLU, Softplus, activation_by_name
from kkt_ref.network.mlp import MLP, init_paper, init_uniform
from kkt_ref.network.storage import load_net, save_net
from kkt_ref.network.torch_format import from_state_dict, to_state_dict
from kkt_ref.stationarity.definition import (
    stationarity_by_autograd,
    stationarity_loss,
    stationarity_residual,
)
from kkt_ref.stationarity.gradients import per_sample_gradients
from kkt_ref.training.descent import (
    History,
    Record,
    TrainResult,
    gradient_descent,
    loss_scaled_descent,
)
from kkt_ref.training.weight_decay import weight_decay_optimum

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "ClarkeFit",
    "GatedReLU",
    "History",
    "KKTReport",
    "PointMatches",
    "ReLU",
    "Reconstruction",
    "Record",
    "Softplus",
    "Stationarity",
    "TrainResult",
    "activation_by_name",
    "clarke_stationarity",
    "find_margin",
    "fit_multipliers",
    "gate_alpha",
    "from_state_dict",
    "gradient_descent",
    "init_paper",
    "init_uniform",
    "kkt_report",
    "load_net",
    "loss_scaled_descent",
    "margins",
    "match_points",
    "normalised_margin",
    "per_sample_gradients",
    "reconstruct",
    "reconstruct_first_layer",
    "reconstruct_on_grid",
    "reconstruct_on_kinks",
    "reconstruct_paper",
    "refine",
    "residual_floor",
    "save_net",
    "stationarity_by_autograd",
    "stationarity_loss",
    "stationarity_norms",
    "stationarity_residual",
    "to_state_dict",
    "weight_decay_optimum",
]
