r"""Membership of given samples in the training set, scored from the weights alone.

Members and other samples are scored together, and all are treated alike, so that ranks among
held-out samples are exact p-values if training left no trace.  A score is the sum of two kinds of
evidence, each standardised by its median and spread over all samples and turned into −log p of a
normal variable.  Both scores were developed with this library; they are not in the paper.

**The first layer of an MLP** (:func:`membership_scores`) is its start plus a sum over the training
samples, W₁ = W₁(0) + Σ_i a_i x_iᵀ, where a_i is the signal of x_i summed over training.  Let
W₁ = U diag(s) Vᵀ, with the bias as one more column, and x a sample with a 1 appended.

span    It lies where W₁ has rows.  Directions v_k in which W₁ is no larger than its start hold
        less of a training sample than of another one.  If a = Vᵀx has the variance c_k in any
        sample, and s_k² in a training sample, then up to a constant factor

            log Σ_k a_k² / c_k − log Σ_k a_k² / s_k²

        is the logarithm of the ratio of the densities of x/‖x‖ (the angular central Gaussian,
        Tyler 1987).  The first sum is needed: it cancels how sharp an image is.
signal  W₁ holds δ(x) xᵀ, where δ(x) is the gradient of the winning output by the preactivations
        of layer 1.  On the right, W₁ is divided by (s_k² + σ²)^(1/2), because a few directions
        that all samples share would drown the rest.  Multipliers λ ≥ 0 are fitted to all samples
        together, so that no sample is taken for another one that it resembles.  The evidence is
        how much of W₁ a sample explains beyond all others.

σ is the root of the median of s_k²: most directions hold little but the start.  This score has no
setting, and sees no labels.

**Any classifier** (:func:`multiplier_scores`) has θ = Σ_i λ_i g_i over the training samples, where
g_i is the gradient of the own output less the others.  A sample on which the network was not
trained needs no multiplier.  Only outputs and gradients are needed, and no other network is
trained.

multiplier  g_i = ∇θ(Φ_{y_i} − Σ_{j≠y_i} q_j Φ_j)(x_i), where q is the softmax of the wrong outputs.
            In this direction cross entropy pulls θ; how well the sample is learnt decides only the
            length of the pull, and all g_i are divided by their norms.  Training stops early, and
            much of θ is still its start.  The start is noise here, whose size differs between
            layers.  As in generalised least squares, each layer of θ and of g_i is divided by the
            root mean square of its parameters.  λ minimises ‖θ − Σ λ_i g_i‖² + ρ ‖λ‖².  It has the
            variances (G + ρ)⁻¹_ii, up to one factor, where G is the Gram matrix.  The evidence is
            λ_i / √(G + ρ)⁻¹_ii: by how many standard deviations an estimated multiplier exceeds 0.
            As an estimate it has any sign.
margin      Φ_{y_i} − log Σ_{j≠y_i} exp Φ_j orders samples as the loss does.

Names of dimensions: n samples (members and others), d inputs, h neurons of layer 1, r = rank, K
outputs, P parameters.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import check_count, check_points
from kkt_ref.attacks.base import predicted_labels
from kkt_ref.attacks.first_layer import pull_of_class
from kkt_ref.kkt.equation import Equation
from kkt_ref.kkt.gram import gram_matrix
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.network.protocol import Network, check_net, check_nonzero
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.losses import soft_margins

Array = np.ndarray
MOST = 10_000  # samples; the fit of the multipliers needs an n x n matrix in float32
FLOOR = 1e-3  # of mean variances, so that a direction without samples does not decide alone
RIDGE = 0.01  # ρ; the diagonal of G is 1


class Membership(NamedTuple):
    """Evidence that samples were trained on; larger is stronger, and only ranks have meaning."""

    score: Array  # (n,), float64: the sum of the two below as −log p, at least 0
    span: Array  # (n,), log ratio of densities
    signal: Array  # (n,), in [-1, 1]: the share of W₁ that a sample explains beyond the others


class MultiplierScores(NamedTuple):
    """Evidence that samples were trained on; larger is stronger, and only ranks have meaning."""

    score: Array  # (n,), float64: the sum of the two below as −log p, at least 0
    multiplier: Array  # (n,), λ in standard deviations
    margin: Array  # (n,), of the outputs


def membership_scores(net: MLP, x: np.ndarray) -> Membership:
    """Score every sample for having been in the training set of a network.

    Parameters
    ----------
    net : MLP
        A classifier; with one output its sign is the class.
    x : array of shape (n, d), floating, 2 ≤ n ≤ 10000
        Training samples and others together, as the network saw them (scaled, mean subtracted).
        At least half should be others, since the score is relative to the median.

    Notes
    -----
    The score was measured to depend on the right preprocessing of x.  Memory: 4 n² bytes twice.
    """
    check_mlp(net)
    x = _members_and_others(net, x).astype(np.float64)
    eps, net = float(np.finfo(net.dtype).eps), net.astype(np.float64)
    W, b = net.layers[0]
    if not W.any():
        raise ValueError("net: the first layer is zero, so it holds no data")
    deltas = _signals(net, x)  # (n, h)
    if b is not None and b.any():
        W, x = np.column_stack([W, b]), np.column_stack([x, np.ones(len(x))])
    U, s, Vt = np.linalg.svd(W, full_matrices=False)  # (h, r), (r,), (r, d)
    sigma = max(float(np.sqrt(np.median(s**2))), eps * s[0] * np.sqrt(len(s)))
    a = x @ Vt.T  # (n, r)
    outside = np.maximum(np.sum(x**2, axis=1) - np.sum(a**2, axis=1), 0.0)  # (n,)
    span = _span(a, outside, s, sigma)
    weights = (s**2 + sigma**2) ** -0.5  # (r,)
    inputs = a * weights  # (n, r)
    sizes = np.sqrt(np.sum(inputs**2, axis=1) + outside / sigma**2)  # (n,)
    inputs /= np.maximum(sizes, 1e-300)[:, None]
    signal = _beyond_others(deltas, inputs, (deltas @ U) * (s * weights))
    return Membership(minus_log_p(span) + minus_log_p(signal), span, signal)


def _signals(net: MLP, x: Array) -> Array:
    """Return δ(x) / ‖δ(x)‖ (n, h) of the winning output less the mean of the others."""
    trace = closed_form.forward(net, x)
    outputs = trace.preactivations[-1]  # (n, K)
    pull = pull_of_class(predicted_labels(outputs), net.K)  # (n, K)
    deltas = closed_form.backward(trace, pull).deltas[0]
    return deltas / np.maximum(np.linalg.norm(deltas, axis=1, keepdims=True), 1e-300)


def _span(a: Array, outside: Array, s: Array, sigma: float) -> Array:
    floor = (0.1 * sigma) ** 2  # far below the start, so that nearly all of s counts
    variance = np.mean(a**2, axis=0)  # c_k, (r,)
    variance += FLOOR * variance.mean() + 1e-300
    any_sample = np.sum(a**2 / variance, axis=1)  # (n,)
    trained = np.sum(a**2 / (s**2 + floor), axis=1) + outside / floor  # (n,)
    return np.log(np.maximum(any_sample, 1e-300)) - np.log(np.maximum(trained, 1e-300))


def _beyond_others(deltas: Array, inputs: Array, images: Array) -> Array:
    """Fit λ ≥ 0 to all samples, and return what each explains beyond the others, (n,)."""
    toward = np.sum(images * inputs, axis=1)  # ⟨W, δ xᵀ⟩, (n,)
    delta, x = deltas.astype(np.float32), inputs.astype(np.float32)
    gram = delta @ delta.T
    gram *= x @ x.T  # (n, n)
    np.fill_diagonal(gram, 1.0)

    def half_square(multipliers: Array) -> tuple[float, Array]:
        pulled = (gram @ multipliers.astype(np.float32)).astype(np.float64)
        return float(multipliers @ (0.5 * pulled - toward)), pulled - toward

    fit = scipy.optimize.minimize(
        half_square,
        np.maximum(toward, 0.0) / len(toward),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(toward),
        options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-6},
    )
    return fit.x - half_square(fit.x)[1]


def multiplier_scores(
    net: Network, x: Any, y: Any, *, projection: int | None = None
) -> MultiplierScores:
    """Score every sample for having been in the training set of a network of any kind.

    Parameters
    ----------
    net : Network
        A classifier: an MLP, or a network of your own (:class:`kkt_ref.network.Network`).
    x : array of shape (n, d), dtype as the network's, 2 ≤ n ≤ 10000
        As in :func:`membership_scores`.
    y : array of shape (n,)
        -1 and +1 for one output, else classes 0 ... K-1.
    projection : int, optional
        Fold each gradient into so many numbers: for networks so large that the exact Gram matrix
        takes too long (:mod:`kkt_ref.kkt.gram`); an MLP needs none.

    Raises
    ------
    ValueError
        If outputs and gradients contradict each other (:func:`kkt_ref.network.check_gradients`).

    Notes
    -----
    Memory: 1 GB for gradients, or with a projection its numbers; and 8 n² bytes three times.
    """
    check_net(net)
    here = Equation(net, _members_and_others(net, x, net.dtype), y)
    projection = None if projection is None else check_count(projection, "projection")
    margin, directions = soft_margins(here.y, here.outputs.astype(np.float64))
    squares = [np.mean(np.square(net.theta[s], dtype=np.float64)) for s in net.layer_slices]
    weights = tuple(float(1 / square) if square > 0 else 0.0 for square in squares)
    gram, toward = gram_matrix(net, here.x, directions.astype(net.dtype), weights, projection)
    multiplier = _in_deviations(gram.astype(np.float64), toward)
    return MultiplierScores(minus_log_p(multiplier) + minus_log_p(margin), multiplier, margin)


def _in_deviations(gram: Array, toward: Array) -> Array:
    """Fit λ to all samples, and return each in its standard deviations, (n,)."""
    norms = np.sqrt(np.diag(gram))
    scale = 1 / np.where(norms > 0, norms, np.inf)  # a sample without gradient has no multiplier
    gram = gram * scale[:, None] * scale
    np.fill_diagonal(gram, 1 + RIDGE)
    factor = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True)
    inverse = scipy.linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)[0]
    inverse += np.tril(inverse, -1).T
    return inverse @ (scale * toward) / np.sqrt(np.diag(inverse))


def _members_and_others(net: Network, x: Any, dtype: Any = None) -> Array:
    check_nonzero(net)
    x = check_points(x, "x", d=net.d, dtype=dtype)
    if not 2 <= len(x) <= MOST:
        raise ValueError(f"x: expected 2 to {MOST} samples, members and others, got {len(x)}")
    return x


def minus_log_p(values: Array) -> Array:
    """Return −log p of values standardised by their median and spread, (n,)."""
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    standard = (values - centre) / max(float(spread), 1e-12)
    return -scipy.special.log_ndtr(-standard)
