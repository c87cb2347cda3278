r"""Stationarity of the first layer alone, in the coordinates that tell samples apart.

With δ_i the signal backpropagated to layer 1, the paper's stationarity reads there

    W₁ = Σ_i λ_i y_i δ(x_i) x_iᵀ,    b₁ = Σ_i λ_i y_i δ(x_i),

up to two kinds of noise: the random start, and a model error, for the signals of a
network in training were not those of the network in the end.  Measured on true data,
that error follows W₁'s own singular values s_j down to about a tenth of the largest:
nine tenths of ‖W₁‖² are a few directions which all samples share and which fit
anything.  So the residual is weighted by the inverse of that noise (Mahalanobis),

    U diag(s² + (left s_1)²)^(-1/2) Uᵀ  R  V diag(s² + (right s_1)²)^(-1/2),

W₁ = U diag(s) Vᵀ.  V's leading columns span the samples, so that a candidate is
x = V a with a few coordinates a.

Given the signals, the equation is linear in x: that is what
:mod:`kkt_ref.attacks.alternating` uses.

Names of dimensions: m candidates, d inputs, h neurons of layer 1, k coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kkt_ref._validation import check_count, check_numbers, check_positive
from kkt_ref.attacks.haim_loss import with_gates
from kkt_ref.kkt.multipliers import solve_nnls_gram
from kkt_ref.network._validation import check_net
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form

Array = np.ndarray

MOST_CANDIDATES = 1000  # a start holds m² numbers and takes m³ steps


class Atoms(NamedTuple):
    """What m candidates contribute, before their multipliers."""

    signals: Array  # y_i δ(x_i), whitened on the left, (m, h)
    inputs: Array  # (x_i, 1) in whitened coordinates, (m, k + 1)
    labels: Array  # y_i = sign Φ(x_i), (m,)


class FirstLayer:
    """The whitened equation of one network's first layer.

    Parameters
    ----------
    net : MLP
        Two layers or more, a bias in the first or not; any dtype.
    noise : (float, float)
        Level of the model error in the neurons (left) and in the inputs (right), as
        a part of the largest singular value, > 0.
    rank : int, optional
        k; by default the number of singular values above a tenth of the right noise,
        of a noise of 0.1 if it is more.
    sharpness : float
        Gates are σ(αz), opening over 1/sharpness of the typical preactivation.

    Attributes
    ----------
    net : MLP
        As given.
    basis : array of shape (k, d)
        Orthonormal; x = a @ basis for coordinates a of shape (m, k).
    weights : array of shape (k,)
        Of the coordinates, (s² + (right s_1)²)^(-1/2).
    target : array of shape (h, k + 1)
        (W₁, b₁), whitened on both sides.
    bias : array of shape (h,)
        b₁, whitened on the left only.
    norm : float
        Every candidate is given this norm, √d / 4: the standard deviation of a pixel
        in [0, 1] is about a quarter, and the equation leaves the scale almost free.

    Raises
    ------
    ValueError, TypeError
        If an argument is off, the network has one layer, or its first layer is zero.
    """

    def __init__(
        self,
        net: MLP,
        *,
        noise: tuple[float, float] = (0.1, 0.1),
        rank: int | None = None,
        sharpness: float = 30.0,
    ) -> None:
        check_net(net)
        left, right = (check_positive(level, "noise") for level in check_numbers(noise, "noise", 2))
        check_positive(sharpness, "sharpness")
        if net.depth < 2:
            raise ValueError("net: expected at least two layers; with one, every sample has δ = 1")
        self.net = net
        net = net.astype(np.float64)
        W = net.weights[0]
        if not W.any():
            raise ValueError("net: the first layer is zero, so it holds no data")
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        shown = int(np.sum(s > 0.1 * min(right, 0.1) * s[0]))
        k = shown if rank is None else min(check_count(rank, "rank"), len(s))

        outside = np.eye(len(W)) - U @ U.T  # zero if h <= d
        inverse = (s**2 + (left * s[0]) ** 2) ** -0.5
        self._left = np.float32((U * inverse) @ U.T + outside / (left * s[0]))  # (h, h)
        self.basis = np.float32(Vt[:k])  # (k, d)
        self.weights = np.float32((s[:k] ** 2 + (right * s[0]) ** 2) ** -0.5)  # (k,)
        self.norm = 0.25 * np.sqrt(net.d)
        self._square = float(np.sum(W**2))

        # the rest of the network sees coordinates a where it saw x = a @ basis
        reduced = MLP((W @ Vt[:k].T, *net.weights[1:]), net.biases, net.activation)
        z = self.norm / np.sqrt(k) * np.linalg.norm(reduced.weights[0], axis=1)
        self._net = with_gates(reduced, sharpness / np.sqrt(np.mean(z**2))).astype(np.float32)
        b = np.zeros(len(W)) if net.biases[0] is None else net.biases[0]
        bias_weight = 0.0 if not b.any() else (b @ b + (right * s[0]) ** 2) ** -0.5
        self._bias_weight = np.float32(bias_weight)
        target = np.column_stack([W @ Vt[:k].T * self.weights, b * bias_weight])  # (h, k + 1)
        self.target = self._left @ np.float32(target)  # (h, k + 1)
        self.bias = self._left @ np.float32(b)  # (h,)

    @property
    def k(self) -> int:
        """Number of coordinates of a candidate."""
        return len(self.weights)

    @property
    def candidates(self) -> int:
        """Three times the coordinates, measured to be enough; at most 1000."""
        return min(3 * self.k, MOST_CANDIDATES)

    def normalised(self, a: Array) -> Array:
        """Return coordinates (m, k) with every candidate at the common norm."""
        lengths = np.linalg.norm(a, axis=1, keepdims=True)
        return np.float32(a * (self.norm / np.maximum(lengths, 1e-12)))

    def whitened(self, a: Array) -> Array:
        """Return the whitened directions of coordinates (m, k), of unit length.

        Different samples are nearly orthogonal here, so that agreement between two
        candidates is no accident, as it is in pixels.
        """
        directions = a * self.weights
        return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)

    def inputs(self, a: Array) -> Array:
        """Return candidates (m, d), float64, of coordinates (m, k)."""
        return np.float64(a) @ np.float64(self.basis)  # (m, d)

    def outputs(self, a: Array) -> Array:
        """Return Φ(x_i), shape (m,)."""
        return closed_form.forward(self._net, a).outputs

    def plain_residual(self, a: Array, multipliers: Array) -> float:
        """Return ‖W₁ − Σ λ_i y_i δ(x_i) x_iᵀ‖ / ‖W₁‖, not whitened, biases left out."""
        signals, labels = self._signals(a)
        total = (multipliers[:, None] * labels[:, None] * signals).T @ a  # (h, k)
        W = self._net.weights[0]
        spanned = np.sum(np.float64(W) ** 2)
        outside = max(self._square - spanned, 0.0)  # what the basis does not span
        return float(np.sqrt((outside + np.sum(np.float64(W - total) ** 2)) / self._square))

    def atoms(self, a: Array) -> Atoms:
        """Return what the candidates with coordinates (m, k) contribute."""
        signals, labels = self._signals(a)
        bias = np.full((len(a), 1), self._bias_weight)
        whitened = (labels[:, None] * signals) @ self._left  # (m, h)
        return Atoms(whitened, np.hstack([a * self.weights, bias]), labels)

    def fit(self, atoms: Atoms) -> tuple[Array, float]:
        """Return λ ≥ 0, float32, shape (m,), that explains most, and the squared relative residual.

        By non-negative least squares on the Gram matrix of the whitened atoms δ_i x_iᵀ.
        """
        gram = (atoms.signals @ atoms.signals.T) * (atoms.inputs @ atoms.inputs.T)  # (m, m)
        toward = np.sum((atoms.signals @ self.target) * atoms.inputs, axis=1)  # (m,)
        multipliers = np.float32(solve_nnls_gram(gram, toward))
        whole = float(np.sum(self.target**2))
        loss = (whole - 2 * multipliers @ toward + multipliers @ (gram @ multipliers)) / whole
        return multipliers, max(float(loss), 0.0)

    def _signals(self, a: Array) -> tuple[Array, Array]:
        trace = closed_form.forward(self._net, a)
        back = closed_form.signals(self._net, trace)
        labels = np.where(trace.outputs < 0, np.float32(-1), np.float32(1))  # (m,)
        return back.deltas[0], labels  # (m, h), (m,)
