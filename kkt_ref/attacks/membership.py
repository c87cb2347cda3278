r"""Was this sample trained on?  A score of membership from the weights alone.

The first layer is its start plus a sum over the training samples, W₁ = W₁(0) + Σ_i a_i x_iᵀ,
where a_i is the signal of x_i summed over training.  Let W₁ = U diag(s) Vᵀ, with the bias as one
more column, and x a sample with a 1 appended.  A training sample leaves two traces:

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

σ is the root of the median of s_k²: most directions hold little but the start.  Each evidence is
standardised by the median and the spread over all samples, and turned into −log p of a normal
variable; the score is the sum.  It has no setting, and sees no labels.  It treats all rows of x
alike, so that ranks among held-out samples are exact p-values if training left no trace.

This score was developed with this library; it is not in the paper.
Names of dimensions: n samples (members and others), d inputs, h neurons of layer 1, r = rank.
"""

from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref._validation import check_points
from kkt_ref.attacks.first_layer import pull_of_class
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.network.protocol import check_nonzero
from kkt_ref.stationarity import closed_form

Array = np.ndarray
MOST = 10_000  # samples; the fit of the multipliers needs an n x n matrix in float32
FLOOR = 1e-3  # of mean variances, so that a direction without samples does not decide alone


class Membership(NamedTuple):
    """Evidence that samples were trained on; larger is stronger, and only ranks have meaning."""

    score: Array  # (n,), float64: the sum of the two below as −log p, at least 0
    span: Array  # (n,), log ratio of densities
    signal: Array  # (n,), in [-1, 1]: the share of W₁ that a sample explains beyond the others


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
    x = check_points(x, "x", d=net.d).astype(np.float64)
    if not 2 <= len(x) <= MOST:
        raise ValueError(f"x: expected 2 to {MOST} samples, members and others, got {len(x)}")
    check_nonzero(net)
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
    return Membership(_evidence(span) + _evidence(signal), span, signal)


def _signals(net: MLP, x: Array) -> Array:
    """Return δ(x) / ‖δ(x)‖ (n, h) of the winning output less the mean of the others."""
    trace = closed_form.forward(net, x)
    outputs = trace.preactivations[-1]  # (n, K)
    if net.K == 1:
        pull = np.where(outputs < 0, -1.0, 1.0)
    else:
        pull = pull_of_class(outputs.argmax(axis=1), net.K)
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


def _evidence(values: Array) -> Array:
    """Return −log p of values standardised by their median and spread, (n,)."""
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    standard = (values - centre) / max(float(spread), 1e-12)
    return -scipy.special.log_ndtr(-standard)
