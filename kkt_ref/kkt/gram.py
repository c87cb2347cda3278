r"""The Gram matrix ⟨g_a, g_b⟩ of k rows g_a = Σ_c U_ac ∇θΦ_c(x_a), without all rows in memory.

Multipliers of fixed samples need no more than this matrix and ⟨g_a, θ⟩.  For an MLP both follow
from the signals δ and inputs a of each layer, Σ_l w_l ⟨δ_a, δ_b⟩ ⟨a_a, a_b⟩.  Any other network
gives its rows a batch at a time:

exact       A block of rows is kept in memory and multiplied with all later rows.  With B blocks
            each row is computed (B + 1) / 2 times on average, once if all fit into one block.
projection  Each row is computed once and folded into s numbers: every parameter is added, with a
            random sign, to one of s random places (the count sketch of Charikar et al. 2002).
            ⟨g_a, g_b⟩ keeps its mean, and errs by about ‖g_a‖ ‖g_b‖ / √s.  ⟨g_a, θ⟩ stays exact.

Names of dimensions: P parameters, k rows, s places of the projection.
"""

from collections.abc import Iterator

import numpy as np
import scipy

from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network
from kkt_ref.stationarity import closed_form

Array = np.ndarray
BATCH = 32  # rows that a network is asked for at a time
MEMORY = 1_000_000_000  # bytes of a block


def scale_layers(vectors: Array, net: Network, weights: tuple[float, ...]) -> Array:
    """Multiply each layer's part of vectors (..., P) by √w_l and drop layers of weight zero."""
    kept = zip(weights, net.layer_slices, strict=True)
    return np.concatenate([np.sqrt(w) * vectors[..., s] for w, s in kept if w > 0], axis=-1)


def gram_matrix(
    net: Network,
    x: Array,
    coefficients: Array,
    weights: tuple[float, ...],
    projection: int | None = None,
) -> tuple[Array, Array]:
    """Return ⟨g_a, g_b⟩, shape (k, k), and ⟨g_a, θ⟩, shape (k,).

    Row a belongs to the sample x_a, (k, d), and the coefficients of its outputs, (k, K).  An MLP
    is so fast that it takes no projection.
    """
    if isinstance(net, MLP):
        return _closed_form(net, x, coefficients, weights)
    theta, k = scale_layers(net.theta, net, weights), len(x)  # (P,)
    gram, toward = np.empty((k, k), theta.dtype), np.empty(k)

    def batches(start: int, stop: int) -> Iterator[tuple[slice, Array]]:
        for first in range(start, stop, BATCH):
            batch = slice(first, min(first + BATCH, stop))
            rows = net.gradient_rows(x[batch], coefficients[batch])
            rows = scale_layers(rows, net, weights)  # (BATCH, P)
            toward[batch] = rows @ theta
            if projection is not None:  # the same one for all rows, since the seed is the same
                rows = scipy.linalg.clarkson_woodruff_transform(rows.T, projection, rng=0).T
            yield batch, rows

    width = theta.size if projection is None else projection
    size = max(MEMORY // (width * theta.itemsize), 1)
    for start in range(0, k, size):
        stop = min(start + size, k)
        block, kept = slice(start, stop), np.empty((stop - start, width), theta.dtype)
        for batch, rows in batches(start, stop):
            kept[batch.start - start : batch.stop - start] = rows
        gram[block, block] = kept @ kept.T
        for batch, rows in batches(stop, k):
            gram[block, batch] = kept @ rows.T
            gram[batch, block] = gram[block, batch].T
    return gram, toward


def _closed_form(
    net: MLP, x: Array, coefficients: Array, weights: tuple[float, ...]
) -> tuple[Array, Array]:
    net, x = net.astype(np.float64), x.astype(np.float64)
    trace = closed_form.forward(net, x)
    deltas = closed_form.backward(trace, coefficients.astype(np.float64)).deltas
    gram, toward = np.zeros((len(x), len(x))), np.zeros(len(x))
    layers = zip(weights, trace.inputs, trace.preactivations, deltas, net.biases, strict=True)
    for w, a, z, delta, b in layers:
        gram += w * (delta @ delta.T) * (a @ a.T + (b is not None))  # (k, k)
        toward += w * np.sum(z * delta, axis=1)  # (k,), for ⟨δ aᵀ, W⟩ + ⟨δ, b⟩ = ⟨δ, z⟩
    return gram, toward
