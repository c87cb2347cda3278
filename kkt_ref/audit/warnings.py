"""The limits of an audit's result, in sentences."""

from collections.abc import Iterator

import numpy as np

from kkt_ref.audit.measure import Audit, OnData
from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network

LOPSIDED = 2.0  # the norm of layer 1 over the smallest
NEAR, FEW = 1.5, 0.5  # fewer than half of the margins are within 1.5 q
OFF_CENTRE = 0.1  # the share of the mean of the data in their energy


def find_warnings(audit: Audit, *, activation_known: bool = True) -> list[str]:
    """Return what limits the meaning of an audit."""
    found = list(audit.net.warnings)
    if isinstance(audit.net, MLP):
        found += _about_mlp(audit.net, activation_known)
    if audit.data is None:
        return [
            *found,
            "No training data were given, so nobody can tell which candidates are real. "
            "Agreement between starts is a hint, not a proof.",
        ]
    found += _about_data(audit.data)
    if audit.held_out is None:
        found.append(
            "No held-out samples were given, so the scores cannot be compared with chance: a "
            "blurred candidate resembles some sample of any large set. Use --held-out."
        )
    return found


def layer_norms(net: Network) -> list[float]:
    """Return the norm of the parameters of each layer."""
    return [float(np.linalg.norm(np.float64(net.theta[s]))) for s in net.layer_slices]


def _about_mlp(net: MLP, activation_known: bool) -> Iterator[str]:
    norms = layer_norms(net)
    if not net.homogeneous:
        yield "Expect fewer and more blurred candidates than from a homogeneous network."
    if not activation_known:
        yield (
            "The file does not name the activation, so ReLU is assumed. If that is wrong, the "
            "candidates are meaningless; name the activation by --activation."
        )
    if norms[0] > LOPSIDED * min(norms):
        yield (
            f"The norm of layer 1 is {norms[0]:.3g}, that of another layer {min(norms):.3g}. They "
            "are equal at a KKT point, so layer 1 probably still contains its random "
            "initialisation, which acts as noise on the candidates."
        )


def _about_data(data: OnData) -> Iterator[str]:
    n, margins, numbers = len(data.x), data.margins, data.conditions or {}
    if "weight_decay" in numbers:
        yield (
            f"The outputs on these data explain all but {numbers['floor_weight_decay']:.2g} of the "
            f"weights, as after training with {numbers['problem_that_fits']}, μ = "
            f"{numbers['weight_decay']:.2g}; max margin, which fits a multiplier to each sample, "
            f"explains all but {numbers['floor']:.2g}. Training for long without weight decay can "
            "look alike. With weight decay, all samples have multipliers, and not only those at "
            "the margin."
        )
    margins = np.full(n, np.inf) if margins is None else margins  # known of classes only
    wrong, near = int(np.sum(margins <= 0)), int(np.sum(margins <= NEAR * margins.min()))
    if wrong:
        yield (
            f"The network does not separate the training data: {wrong} of {n} samples are "
            "misclassified, so the theory does not apply. If it should separate them, check the "
            "labels, and that x is what the network saw (scale, mean, order of pixels)."
        )
    elif near < FEW * n:
        yield (
            f"The margins are spread from {margins.min():.3g} to {margins.max():.3g}: only {near} "
            f"of {n} samples are within {NEAR} times the smallest. Others cannot be reconstructed."
        )
    off = float(np.sum(data.x.mean(axis=0) ** 2) * n / max(np.sum(data.x**2), 1e-300))
    if off > OFF_CENTRE + 2 / n and data.x.shape[1] > 2:  # centred samples leave about 1/n
        yield (
            f"The data are not centred: their mean has {off:.0%} of their energy, so that every "
            "candidate resembles every sample. Only the difference to held-out samples counts."
        )
