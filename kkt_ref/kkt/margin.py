r"""Margins: y_i Φ(θ; x_i), their minimum q, and the normalised margin q / ‖θ‖^L."""

from __future__ import annotations

import numpy as np

from kkt_ref.network._validation import check_nonzero, check_samples
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form


def margins(net: MLP, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """y_i Φ(θ; x_i).

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d), dtype as the network's
    y : array of shape (n,), entries -1 and +1

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    x, y = check_samples(net, x, y)
    return y * closed_form.forward(net, x).outputs


def normalised_margin(net: MLP, x: np.ndarray, y: np.ndarray) -> float:
    """min_i y_i Φ(θ; x_i) / ‖θ‖^L: invariant to rescaling a homogeneous network.

    Parameters
    ----------
    net, x, y
        As in :func:`margins`.

    Returns
    -------
    float
        Negative if a sample is misclassified.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    values = margins(net, x, y)
    check_nonzero(net)
    return float(values.min() / np.linalg.norm(net.theta) ** net.depth)


def positive_margin(net: MLP, x: np.ndarray, y: np.ndarray) -> float:
    """min_i y_i Φ(θ; x_i), which must be positive.

    Parameters
    ----------
    net, x, y
        As in :func:`margins`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a sample is misclassified: the KKT conditions of the max-margin problem
        speak of networks that separate their data.
    """
    values = margins(net, x, y)
    if values.min() <= 0:
        wrong = int(np.sum(values <= 0))
        raise ValueError(
            f"net: no positive margin, {wrong} of {len(values)} samples are misclassified "
            f"(smallest y·Φ = {values.min():.3g}); train until all samples are separated"
        )
    return float(values.min())
