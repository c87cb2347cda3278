"""What limits the meaning of an audit, each said with what it does to the result."""

from __future__ import annotations

import numpy as np

from kkt_ref.audit.run import Conditions, Network

LOPSIDED = 2.0  # layer 1 larger than the smallest layer by this factor
NEAR, FEW = 1.5, 0.5  # within 1.5 q counts as near the margin; fewer than half are few
OFF_CENTRE = 0.1  # share of the data's energy that its mean may hold


def network_warnings(network: Network, *, activation_known: bool = True) -> list[str]:
    """Warn of what the weights alone show.

    Parameters
    ----------
    network : Network
    activation_known : bool
        Whether somebody said what the activation is.

    Returns
    -------
    list of str
    """
    found = []
    later = [str(layer) for layer in network.biased if layer > 1]
    if later:
        found.append(
            f"Not homogeneous: bias in layer {', '.join(later)}, where the theory allows one in "
            "layer 1 only. The equation of layer 1 no longer follows from it; expect fewer and "
            "blurrier candidates than the training data would allow."
        )
    if network.smooth:
        found.append(
            f"Not homogeneous: the activation ({network.activation}) is smooth at 0. The theory "
            "holds for its limit, ReLU; the smaller alpha, the blurrier the candidates."
        )
    if not activation_known:
        found.append(
            "The file does not say the activation; ReLU is assumed. With another one the "
            "candidates mean nothing: name it by --activation."
        )
    if network.norms[0] > LOPSIDED * min(network.norms):
        found.append(
            f"Layer 1 has norm {network.norms[0]:.3g}, another layer only "
            f"{min(network.norms):.3g}. At a KKT point all layers have the same norm, so layer 1 "
            "seems to hold much of its random start still, as after short training or from a large "
            "start; that is noise over the data, and fewer samples come back."
        )
    return found


def data_warnings(conditions: Conditions, x: np.ndarray) -> list[str]:
    """Warn of what the training data shows.

    Parameters
    ----------
    conditions : Conditions
    x : array of shape (n, d)

    Returns
    -------
    list of str
    """
    found, u = [], conditions.margins
    wrong = int(np.sum(u <= 0))
    if wrong:
        found.append(
            f"Not trained to separation: {wrong} of {len(u)} samples are misclassified. There is "
            "no margin, so the theory does not apply; few or no samples will come back, which "
            "says nothing about a network trained further. If the network does separate its data, "
            "then x is not what it saw (scale, mean, order of pixels) or a label is wrong."
        )
    elif np.mean(u <= NEAR * u.min()) < FEW:
        near = int(np.sum(u <= NEAR * u.min()))
        found.append(
            f"Large spread of margins: {u.min():.3g} to {u.max():.3g}, and only {near} of {len(u)} "
            f"samples within {NEAR} times the smallest. Samples far from the margin carry no "
            "multiplier, and do not come back; those near it are the ones at risk."
        )
    off = float(np.sum(x.mean(axis=0) ** 2) * len(x) / np.sum(x**2)) if x.any() else 0.0
    if off > OFF_CENTRE + 2 / len(x) and x.shape[1] > 2:  # centred samples leave about 1/n
        found.append(
            f"The data is not centred: its mean holds {off:.0%} of its energy. Every candidate "
            "then resembles every sample, so that only the difference to held-out samples counts."
        )
    return found


def comparison_warnings(*, data: bool, held_out: bool) -> list[str]:
    """Warn of what there is no answer to without the data, or without held-out samples.

    Parameters
    ----------
    data, held_out : bool
        Whether they are given.

    Returns
    -------
    list of str
    """
    if not data:
        return [
            "No training data given: whether the network separates it, and whether a candidate is "
            "a training sample, was not tested. Agreement between starts is a hint, no proof."
        ]
    if not held_out:
        return [
            "No held-out samples given: a blurred candidate resembles something in any large set, "
            "so the scores have nothing to stand beside. Give as many unseen samples by --held-out."
        ]
    return []
