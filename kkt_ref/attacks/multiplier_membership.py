r"""Was this sample trained on?  A score of membership for any classifier, by its multipliers.

Stationarity says θ = Σ_i λ_i g_i over the training samples, where g_i is the gradient of the own
output less the others.  So multipliers are fitted to members and other samples together: a sample
on which the network was not trained needs none.  Three choices make this a test:

direction   g_i = ∇θ(Φ_{y_i} − Σ_{j≠y_i} q_j Φ_j)(x_i), where q is the softmax of the wrong outputs.
            In this direction cross entropy pulls θ; how well the sample is learnt decides only the
            length of the pull, and all g_i are divided by their norms.
layers      Training stops early, and much of θ is still its start.  The start is noise here, whose
            size differs between layers.  As in generalised least squares, each layer of θ and of
            g_i is divided by the root mean square of its parameters.
deviation   λ minimises ‖θ − Σ λ_i g_i‖² + ρ ‖λ‖².  It has the variances (G + ρ)⁻¹_ii, up to one
            factor, where G is the Gram matrix.  The evidence is λ_i / √(G + ρ)⁻¹_ii: by how many
            standard deviations an estimated multiplier exceeds 0.  As an estimate it has any sign.

The margin Φ_{y_i} − log Σ_{j≠y_i} exp Φ_j is a second evidence: it orders samples as the loss does.
Both are standardised by their median and spread, turned into −log p of a normal variable, and
added.  All samples are treated alike, so that ranks among held-out samples are exact p-values if
training left no trace.  Only outputs and gradients are needed, and no other network is trained.

This score was developed with this library; it is not in the paper.
Names of dimensions: n samples (members and others), d inputs, K outputs, P parameters.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import check_count, check_points
from kkt_ref.attacks.membership import MOST, evidence
from kkt_ref.kkt.gram import gram_matrix
from kkt_ref.network.gradient_check import check_gradients
from kkt_ref.network.protocol import Network, check_nonzero
from kkt_ref.stationarity.problems import max_margin

Array = np.ndarray
RIDGE = 0.01  # ρ; the diagonal of G is 1


class MultiplierScores(NamedTuple):
    """Evidence that samples were trained on; larger is stronger, and only ranks have meaning."""

    score: Array  # (n,), float64: the sum of the two below as −log p, at least 0
    multiplier: Array  # (n,), λ in standard deviations
    margin: Array  # (n,), of the outputs


def multiplier_scores(
    net: Network, x: Any, y: Any, *, projection: int | None = None
) -> MultiplierScores:
    """Score every sample for having been in the training set of a network of any kind.

    Parameters
    ----------
    net : Network
        A classifier: an MLP, or a network of your own as :class:`kkt_ref.network.Network`
        describes it.
    x : array of shape (n, d), dtype as the network's, 2 ≤ n ≤ 10000
        Training samples and others together, as the network saw them (scaled, mean subtracted).
        At least half should be others, since the score is relative to the median.
    y : array of shape (n,)
        -1 and +1 for one output, else classes 0 ... K-1.
    projection : int, optional
        Fold each gradient into so many numbers: for networks so large that the exact Gram matrix
        takes too long (:mod:`kkt_ref.kkt.gram`); an MLP needs none.

    Returns
    -------
    MultiplierScores

    Raises
    ------
    ValueError
        If outputs and gradients contradict each other (:func:`kkt_ref.network.check_gradients`).

    Notes
    -----
    Memory: 1 GB for gradients, or with a projection its numbers; and 8 n² bytes three times.
    """
    check_gradients(net, x)
    check_nonzero(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)
    if not 2 <= len(x) <= MOST:
        raise ValueError(f"x: expected 2 to {MOST} samples, members and others, got {len(x)}")
    y = max_margin(net.K).check(y, len(x), net.K, net.dtype)
    projection = None if projection is None else check_count(projection, "projection")
    margin, directions = _margins(np.asarray(net.outputs(x), np.float64), y)
    squares = [np.mean(np.square(net.theta[s], dtype=np.float64)) for s in net.layer_slices]
    weights = tuple(float(1 / square) if square > 0 else 0.0 for square in squares)
    gram, toward = gram_matrix(net, x, directions.astype(net.dtype), weights, projection)
    multiplier = _in_deviations(gram.astype(np.float64), toward)
    return MultiplierScores(evidence(multiplier) + evidence(margin), multiplier, margin)


def _margins(outputs: Array, y: Array) -> tuple[Array, Array]:
    """Return Φ_y − log Σ_{j≠y} exp Φ_j, (n,), and its gradient in Φ, (n, K)."""
    if outputs.shape[1] == 1:
        return y * outputs[:, 0], y[:, None]
    rows = np.arange(len(y))
    wrong = outputs.copy()
    wrong[rows, y] = -np.inf
    directions = -scipy.special.softmax(wrong, axis=1)
    directions[rows, y] = 1.0
    return outputs[rows, y] - scipy.special.logsumexp(wrong, axis=1), directions


def _in_deviations(gram: Array, toward: Array) -> Array:
    """Fit λ to all samples, and return each in its standard deviations, (n,)."""
    norms = np.sqrt(np.diag(gram))
    scale = 1 / np.where(norms > 0, norms, np.inf)  # a sample without gradient has no multiplier
    gram = gram * scale[:, None] * scale
    np.fill_diagonal(gram, 1 + RIDGE)
    inverse = np.linalg.inv(gram)
    return inverse @ (scale * toward) / np.sqrt(np.diag(inverse))
