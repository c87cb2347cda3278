r"""The stationarity equation of the first layer, with its residual whitened.

Let δ(x), the signal of x, be the gradient of Φ(x) by the preactivations of layer 1.  In the
first layer, stationarity reads  W₁ = Σ_i λ_i y_i δ(x_i) x_iᵀ  and  b₁ = Σ_i λ_i y_i δ(x_i).

On a trained network this holds up to noise: W₁ still contains its initialisation, and the
signals changed during training.  Measured on training data, the noise along a singular
direction of W₁ = U diag(s) Vᵀ is proportional to s_j, down to about a tenth of the largest.
A few directions that all samples share hold nine tenths of ‖W₁‖², so wrong candidates fit them
as well as right ones.  The residual R is therefore divided by the noise along each direction:

    U diag(s² + (left s_1)²)^(-1/2) Uᵀ  R  V diag(s² + (right s_1)²)^(-1/2).

On the left, s_j below a tenth of the noise count as 0, so that few directions have to be scaled.
The leading columns of V span the samples, so k coordinates a describe a candidate x = V a.

With K outputs, y_i δ(x_i) is the gradient of Φ_{y_i} − Σ_{j≠y_i} q_ij Φ_j.  W₁ contains the sum of
the whole training, so q is not that of the end, where only the runner-up j is pushed away: it is
the average of the softmax of the wrong outputs over the training.  A homogeneous network grows
from small weights, and at the fraction s of its final size its outputs were about s^L Φ.  So q
follows from the outputs of the trained network:

    q_ij = ∫_0^1 softmax_j(s^L Φ(x_i)) ds     over the wrong classes j.

Early in training all wrong classes are pushed away alike, and later those with large outputs.
The outputs of a candidate that is not yet like a sample say nothing, so q is uniform at first.

Names of dimensions: m candidates, d inputs, h neurons of layer 1, k coordinates, K outputs.
"""

from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref._parallel import one_thread
from kkt_ref._validation import check_numbers, check_positive
from kkt_ref.attacks.paper import with_gates
from kkt_ref.kkt.multipliers import solve_nnls_gram
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.stationarity import closed_form

Array = np.ndarray
_MIDPOINTS = (np.arange(8) + 0.5) / 8


class Atoms(NamedTuple):
    """What each of m candidates adds to the right side of the equation, divided by λ_i."""

    signals: Array  # y_i δ(x_i), whitened on the left, (m, h)
    inputs: Array  # (x_i, 1) in whitened coordinates, (m, k + 1)
    labels: Array  # y_i = sign Φ(x_i), or for K outputs the class i mod K, (m,)


class FirstLayer:
    """The whitened first-layer equation of a network of at least two layers, in float32.

    ``noise`` is that of :func:`kkt_ref.attacks.reconstruct_first_layer`: of the neurons (left) and
    of the inputs (right).  The gates are σ(αz) with α = sharpness / typical |z_1|, so that signals
    are smooth in x.
    """

    @one_thread()
    def __init__(
        self, net: MLP, *, noise: tuple[float, float] | None = None, sharpness: float = 30.0
    ) -> None:
        check_mlp(net)
        # q is a model of the training, so with several outputs the signals are less exact
        noise = ((0.1, 0.1) if net.K == 1 else (0.3, 0.3)) if noise is None else noise
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
        self.k = k = int(np.sum(s > 0.1 * min(right, 0.1) * s[0]))
        # Measured to be enough: some candidates of a run must be near every sample of every class.
        self.default_candidates = min((3 if net.K == 1 else 5) * k, 1000)  # a run holds m² numbers
        self._flat = np.float32(1 / (left * s[0]))
        kept = s > 0.1 * left * s[0]
        U, inverse = U[:, kept], (s[kept] ** 2 + (left * s[0]) ** 2) ** -0.5
        self._left = U.astype(np.float32)  # (h, r)
        self._left_weights = (inverse - self._flat).astype(np.float32)  # (r,)
        self.basis = Vt[:k].astype(np.float32)  # (k, d), orthonormal rows: x = a @ basis
        weights = (s[:k] ** 2 + (right * s[0]) ** 2) ** -0.5
        self.weights = weights.astype(np.float32)  # (k,), the whitening of the coordinates
        # The equation leaves the scale of x almost free, so all candidates get one norm; pixels
        # in [0, 1] have a standard deviation of about a quarter.
        self.norm = 0.25 * np.sqrt(net.d)

        # the same network as a function of coordinates a, where x = a @ basis
        reduced = MLP((W @ Vt[:k].T, *net.weights[1:]), net.biases, net.activation)
        z = self.norm / np.sqrt(k) * np.linalg.norm(reduced.weights[0], axis=1)  # (h,)
        self._net = with_gates(reduced, sharpness / np.sqrt(np.mean(z**2))).astype(np.float32)
        b = np.zeros(len(W)) if net.biases[0] is None else net.biases[0]
        bias_weight = 0.0 if not b.any() else (b @ b + (right * s[0]) ** 2) ** -0.5
        self._bias_weight = np.float32(bias_weight)
        target = np.column_stack([W @ Vt[:k].T * self.weights, b * bias_weight])  # (h, k + 1)
        # whitened on both sides, (h, k + 1), and on the left only, (h,)
        self.target = self._whitened_left(target.astype(np.float32).T).T
        self.bias = self._whitened_left(b.astype(np.float32))

    def normalised(self, a: Array) -> Array:
        """Return coordinates (m, k) scaled so that every candidate has the common norm."""
        lengths = np.linalg.norm(a, axis=1, keepdims=True)
        return (a * (self.norm / np.maximum(lengths, 1e-12))).astype(np.float32)

    def _whitened_left(self, signals: Array) -> Array:
        """Return signals (..., h) in units of the noise of the neurons."""
        along = (signals @ self._left) * self._left_weights  # (..., r)
        return signals * self._flat + along @ self._left.T

    def whitened(self, a: Array) -> Array:
        """Return whitened unit coordinates (m, k), nearly orthogonal for different samples."""
        directions = a * self.weights
        return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)

    def inputs(self, a: Array) -> Array:
        """Return the candidates x, shape (m, d) and float64, that have coordinates (m, k)."""
        return a.astype(np.float64) @ self.basis.astype(np.float64)  # (m, d)

    def shared(self, a: Array, multipliers: Array) -> Array:
        """Return λ_i (m,) for one output, or λ_i q_ij (m, K), its shares among wrong classes."""
        if self.net.K == 1:
            return multipliers
        outputs = closed_form.forward(self._net, a).outputs  # (m, K)
        y = np.arange(len(a)) % self.net.K  # (m,)
        pull = pull_of_training(outputs, y, self.net.depth)  # e_y − q, (m, K)
        return multipliers[:, None] * np.where(pull > 0, 0.0, -pull)

    def atoms(self, a: Array, *, formed: bool = True) -> Atoms:
        """Return what the candidates with coordinates (m, k) add to the equation.

        ``formed`` says whether the candidates are like samples, so that their outputs tell q.
        """
        trace = closed_form.forward(self._net, a)
        outputs = trace.preactivations[-1]  # (m, K)
        if self.net.K == 1:
            labels = np.where(outputs[:, 0] < 0, np.float32(-1), np.float32(1))  # (m,)
            pull = labels[:, None]  # (m, 1)
        else:
            labels = np.arange(len(a)) % self.net.K  # (m,)
            pull = pull_of_training(outputs, labels, self.net.depth if formed else 0)  # (m, K)
        signals = self._whitened_left(closed_form.backward(trace, pull).deltas[0])
        bias = np.full((len(a), 1), self._bias_weight)
        return Atoms(signals, np.hstack([a * self.weights, bias]), labels.astype(np.float32))

    def fit(self, atoms: Atoms) -> tuple[Array, float]:
        """Return the best λ ≥ 0, (m,) in float32, and the squared relative residual."""
        gram = (atoms.signals @ atoms.signals.T) * (atoms.inputs @ atoms.inputs.T)  # (m, m)
        toward = np.sum((atoms.signals @ self.target) * atoms.inputs, axis=1)  # (m,)
        multipliers = solve_nnls_gram(gram, toward).astype(np.float32)
        whole = float(np.sum(self.target**2))
        loss = (whole - 2 * multipliers @ toward + multipliers @ (gram @ multipliers)) / whole
        return multipliers, max(float(loss), 0.0)


def pull_of_training(outputs: Array, y: Array, depth: int) -> Array:
    """Return e_y − q, shape (m, K), for candidates of the classes y, (m,); depth 0: uniform q.

    The integral over s is the mean over the midpoints of eight intervals.
    """
    own = np.eye(outputs.shape[1], dtype=bool)[y]  # (m, K)
    sizes = _MIDPOINTS**depth if depth else np.zeros(1)  # s^L
    shares = [
        scipy.special.softmax(np.where(own, -np.inf, size * outputs), axis=1) for size in sizes
    ]
    return (own - np.mean(shares, axis=0)).astype(outputs.dtype)
