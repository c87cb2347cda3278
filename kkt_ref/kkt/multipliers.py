r"""Multipliers for fixed samples: a convex problem.

    min_{λ ≥ 0}  Σ_l w_l ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²_l

is a non-negative least squares problem, solved by SciPy's NNLS: on the matrix of
per-sample gradients where it fits into memory, else on its Gram matrix
K_ij = Σ_l w_l ⟨δ_i, δ_j⟩ ⟨a_i, a_j⟩.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.optimize import lsq_linear, nnls

from kkt_ref.network._validation import check_layer_weights, check_samples
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

LARGEST_MATRIX = 50_000_000  # entries of the (n, P) matrix; beyond, its Gram matrix serves


def gradient_matrix(net: MLP, x: np.ndarray) -> np.ndarray:
    """∇θΦ(θ; x_i) for all samples at once, equal to the loop of autograd.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d)

    Returns
    -------
    array of shape (n, P)
        It is formed whole: meant for small networks or few samples.
    """
    trace = closed_form.forward(net, x)
    back = closed_form.signals(net, trace)
    parts = []
    for a, delta, b in zip(trace.inputs, back.deltas, net.biases, strict=True):
        parts.append(
            (delta[:, :, None] * a[:, None, :]).reshape(x.shape[0], -1)
        )  # (n, h_l h_{l-1})
        if b is not None:
            parts.append(delta)  # (n, h_l)
    return np.concatenate(parts, axis=1)  # (n, P)


def gram_matrix(
    net: MLP, x: np.ndarray, y: np.ndarray, *, layer_weights: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """⟨g_i, g_j⟩ and ⟨g_i, θ⟩ of g_i = y_i ∇θΦ(x_i), layer by layer, without forming g_i.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d)
    y : array of shape (n,), entries -1 and +1
    layer_weights : sequence of L numbers ≥ 0, optional

    Returns
    -------
    gram : array of shape (n, n), float64
    toward : array of shape (n,), float64
    """
    weights = check_layer_weights(layer_weights, net)
    net, x, y = net.astype(np.float64), x.astype(np.float64), y.astype(np.float64)
    trace = closed_form.forward(net, x)
    back = closed_form.signals(net, trace)
    gram, toward = np.zeros((len(y), len(y))), np.zeros(len(y))
    for w, a, delta, W, b in zip(
        weights, trace.inputs, back.deltas, net.weights, net.biases, strict=True
    ):
        has_bias = b is not None
        gram += w * (delta @ delta.T) * (a @ a.T + has_bias)  # (n, n)
        toward += w * np.sum((a @ W.T + (b if has_bias else 0.0)) * delta, axis=1)  # (n,)
    return gram * y[:, None] * y, toward * y


def scale_layers(vectors: np.ndarray, net: MLP, layer_weights: Any) -> np.ndarray:
    """Multiply each layer's part of vectors (..., P) by √w_l and drop layers of weight zero."""
    weights = check_layer_weights(layer_weights, net)
    kept = zip(weights, net.layer_slices, strict=True)
    return np.concatenate([np.sqrt(w) * vectors[..., s] for w, s in kept if w > 0], axis=-1)


def solve_nnls(matrix: np.ndarray, target: np.ndarray, *, batch: int = 100) -> np.ndarray:
    """Solve min_{λ ≥ 0} ‖target − λᵀ matrix‖ for a matrix of shape (k, P), k large.

    SciPy's NNLS on a working set of rows: those that carry a multiplier, and the
    ``batch`` that violate the optimality condition ⟨row, residual⟩ ≤ 0 most; until
    none does.  The solution is that of all rows, at a fraction of the time.
    """
    norms = np.linalg.norm(matrix, axis=1)
    norms[norms == 0] = 1.0  # rows that never violate
    multipliers = np.zeros(len(matrix))
    residual, smallest = target, np.inf
    while True:
        violation = (matrix @ residual) / norms
        worst = np.argsort(-violation)[:batch]
        worst = worst[violation[worst] > 1e-10 * np.linalg.norm(target)]
        size = float(np.linalg.norm(residual))
        if worst.size == 0 or size >= smallest:
            return multipliers
        smallest = size
        working = np.union1d(np.flatnonzero(multipliers), worst)
        columns = np.column_stack([matrix[working].T, target])  # (P, w + 1)
        if columns.shape[0] > columns.shape[1]:
            columns = np.linalg.qr(columns, mode="r")  # (w + 1, w + 1): the same minimiser
        multipliers = np.zeros(len(matrix))
        multipliers[working] = _nnls(columns[:, :-1], columns[:, -1], 30 * columns.shape[1])
        residual = target - multipliers @ matrix  # (P,)


def solve_nnls_gram(gram: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """Solve min_{λ ≥ 0} λᵀ gram λ − 2 λᵀ toward, for the (k, k) Gram matrix of k rows.

    Equal to :func:`solve_nnls` where the rows are too long to be kept.  Forming the
    Gram matrix squares the condition number, so a ridge of 1e-10 (1e-6 in float32) of
    each row's own square keeps it definite, or more where its rounding asks for it.
    """
    if not (len(gram) and np.all(np.isfinite(gram)) and np.all(np.isfinite(toward))):
        # on an empty problem SciPy's NNLS may abort the whole process
        raise ValueError(
            f"gram, toward: expected finite values of k >= 1 rows, got k = {len(gram)}"
        )
    ridge = 1e-6 if gram.dtype == np.float32 else 1e-10
    gram, toward = gram.astype(np.float64), toward.astype(np.float64)
    squares = np.diag(gram)
    scale = np.where(squares > 0, squares, 1.0) ** -0.5
    unit = gram * scale[:, None] * scale
    unit[squares <= 0, squares <= 0] = 1.0
    while True:
        try:
            factor = cholesky(unit + ridge * np.eye(len(gram)), lower=True)
            break
        except LinAlgError:
            ridge *= 10.0
    right = solve_triangular(factor, scale * toward, lower=True)
    return scale * _nnls(factor.T, right, 100 * len(gram))


def _nnls(columns: np.ndarray, target: np.ndarray, iterations: int) -> np.ndarray:
    """SciPy's NNLS, or where it fails (before 1.16 it may give up or end too early), its BVLS."""
    try:
        found = nnls(columns, target, maxiter=iterations)[0]
        slope = columns.T @ (target - columns @ found)
        small = 1e-8 * np.linalg.norm(columns, axis=0) * np.linalg.norm(target)
        if np.all(slope <= small) and np.all(np.abs(slope[found > 0]) <= small[found > 0]):
            return found
    except RuntimeError:
        pass
    return lsq_linear(columns, target, (0.0, np.inf), method="bvls", tol=1e-14).x


def fit_multipliers(
    net: MLP, x: np.ndarray, y: np.ndarray, *, layer_weights: Any = None
) -> np.ndarray:
    """The λ ≥ 0 that minimise the stationarity loss for fixed x and y.

    Parameters
    ----------
    net : MLP
    x : array of shape (n, d), dtype as the network's
    y : array of shape (n,), entries -1 and +1
    layer_weights : sequence of L numbers ≥ 0, optional

    Returns
    -------
    array of shape (n,), dtype as the network's

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit the network.
    """
    x, y = check_samples(net, x, y)
    if len(y) * net.theta.size <= LARGEST_MATRIX:
        atoms = scale_layers(y[:, None] * gradient_matrix(net, x), net, layer_weights)
        target = scale_layers(net.theta, net, layer_weights)
        multipliers = solve_nnls(atoms.astype(np.float64), target.astype(np.float64))
    else:
        multipliers = solve_nnls_gram(*gram_matrix(net, x, y, layer_weights=layer_weights))
    return multipliers.astype(net.dtype)
