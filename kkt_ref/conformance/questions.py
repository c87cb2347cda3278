"""The questions of the conformance kit, and their right answers by autograd.

Names of dimensions: n samples, d inputs, P parameters, C channels, H and W pixels;
h_l is the width of layer l.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy

from kkt_ref.conformance.cases import Case, cases, class_cases, image_cases
from kkt_ref.metrics.ssim import structural_similarity
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.definition import (
    per_sample_gradients,
    phi,
    stationarity_by_autograd,
    stationarity_residual,
    weighted_phi_gradient,
)
from kkt_ref.stationarity.problems import constraints_of, max_margin

Array = np.ndarray
Answer = tuple[Array, ...]


class Implementation(Protocol):
    """The methods that the kit can test; leave out a method, or raise NotImplementedError.

    The network is given as plain NumPy arrays: ``net.weights[l]`` of shape (h_{l+1}, h_l) and
    ``net.biases[l]`` of shape (h_{l+1},) or None.  ``net.activation`` is ``ReLU()``,
    ``GatedReLU(alpha)`` or ``Softplus(alpha)``.  Vectors of length P are in the order
    W_1, b_1, W_2, ...  Answers are arrays of the dtype of the inputs, or floats.
    """

    def outputs(self, net: MLP, x: Array) -> Array:
        """Return Φ(θ; x_i), shape (n,)."""

    def per_sample_gradients(self, net: MLP, x: Array) -> Array:
        """Return ∇θΦ(θ; x_i), shape (n, P)."""

    def stationarity_residual(self, net: MLP, x: Array, y: Array, multipliers: Array) -> Array:
        """Return θ − Σ_i λ_i y_i ∇θΦ(θ; x_i), shape (P,)."""

    def stationarity(
        self, net: MLP, x: Array, y: Array, multipliers: Array
    ) -> tuple[float, Array, Array]:
        """Return the squared norm of that residual, and its gradients in x (n, d) and λ (n,)."""

    def kkt_conditions(
        self, net: MLP, x: Array, y: Array, multipliers: Array, margin: float
    ) -> tuple[float, float, float, float]:
        """Return how much the four conditions are violated, q being ``margin``.

        They are the relative stationarity, primal feasibility, dual feasibility and relative
        complementary slackness of :class:`~kkt_ref.kkt.KKTReport`.
        """

    def training_step(self, net: MLP, x: Array, y: Array, step: float) -> Array:
        """Return θ, shape (P,), after one gradient step on the mean logistic loss."""

    def class_outputs(self, net: MLP, x: Array) -> Array:
        """Return Φ(θ; x_i) of a network with K outputs, shape (n, K)."""

    def class_stationarity(
        self, net: MLP, x: Array, y: Array, multipliers: Array
    ) -> tuple[float, Array, Array]:
        """Return ‖θ − Σ_i Σ_{j≠y_i} λ_ij ∇θ(Φ_{y_i} − Φ_j)(x_i)‖² and its gradients.

        They are those in x (n, d) and λ (n, K), for classes y_i in 0 ... K-1.  λ_ij counts for
        nothing if j = y_i, and the gradient is 0 there.
        """

    def class_kkt_conditions(
        self, net: MLP, x: Array, y: Array, multipliers: Array, margin: float
    ) -> tuple[float, float, float, float]:
        """Return the same as ``kkt_conditions`` for the constraints Φ_{y_i} − Φ_j ≥ q, j ≠ y_i."""

    def ssim(self, a: Array, b: Array) -> float:
        """Return Wang's SSIM of two images (C, H, W) in [0, 1], the mean over the channels."""


class Question(NamedTuple):
    """A method of an implementation, its inputs and its right answer."""

    name: str  # of the method
    parts: tuple[str, ...]  # names of the arrays that the method returns
    answer: Callable[..., Any]  # maps the arguments of the method to the right answer
    arguments: Callable[..., tuple[Any, ...]] = lambda *inputs: inputs  # maps inputs of a case
    cases: Callable[[Any, int], list[Case]] = cases  # maps a dtype and a seed to the cases
    flat: bool = False  # whether the last axis of the answer is that of θ

    def reference(self, case: Case) -> Answer:
        """Return the right answer for a case, computed in float64 from its rounded numbers."""
        answer = self.answer(*map(in_float64, self.arguments(*case.inputs)))
        return tuple(map(np.asarray, answer if len(self.parts) > 1 else (answer,)))

    def error(self, case: Case, answer: Answer, right: Answer) -> float:
        """Return the largest error, relative to the norm of each array, or of each W_l and b_l."""
        if self.flat:
            ends = np.cumsum([p.size for p in case.inputs[0].arrays])[:-1]
            answer, right = (tuple(np.split(part[0], ends, axis=-1)) for part in (answer, right))
        worst = 0.0
        for found, wanted in zip(answer, right, strict=True):
            found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
            size = float(np.linalg.norm(wanted))
            worst = max(worst, float(np.linalg.norm(found - wanted)) / (size or 1.0))
        return worst


def in_float64(argument: Any) -> Any:
    """Return a network or an array in float64, and anything else as it is."""
    return argument.astype(np.float64) if isinstance(argument, (MLP, np.ndarray)) else argument


def outputs(net: MLP, x: Array) -> Array:
    """Return Φ(θ; x_i), shape (n,) for one output, else (n, K)."""
    found = phi(net.arrays, x, net)
    return found[:, 0] if net.K == 1 else found


def kkt_conditions(
    net: MLP, x: Array, y: Array, multipliers: Array, margin: float
) -> tuple[float, float, float, float]:
    """Return the right answer to the question of this name, for any number of outputs."""
    residual = stationarity_residual(net, x, y, multipliers)  # (P,)
    found = phi(net.arrays, x, net)  # (n, K)
    directions = max_margin(net.K).directions(y, found)  # (n, J, K)
    u = constraints_of(directions, found)  # (n, J)
    constrained = np.isfinite(u)
    u = u[constrained]  # (k,)
    lam = multipliers.reshape(constrained.shape)[constrained]  # (k,)
    mass = np.sum(np.abs(lam)) * margin
    return (
        np.linalg.norm(residual) / np.linalg.norm(net.theta),
        max((margin - u).max(), 0.0) / margin,
        max((-lam).max(), 0.0),
        np.sum(np.abs(lam * (u - margin))) / mass if mass > 0 else 0.0,
    )


def training_step(net: MLP, x: Array, y: Array, step: float) -> Array:
    """Return θ − step · ∇θ (1/n) Σ_i log(1 + exp(−y_i Φ(θ; x_i))), shape (P,)."""
    c = y * scipy.special.expit(-y * outputs(net, x)) / len(y)  # (n,)
    pull = weighted_phi_gradient(net, x, c[:, None])
    gradient = np.concatenate([g.ravel() for g in pull])  # (P,)
    return net.theta + step * gradient


def _with_margin(net: MLP, x: Array, y: Array, multipliers: Array) -> tuple[Any, ...]:
    multipliers = np.concatenate([-multipliers[:1], multipliers[1:]])  # one is infeasible
    return net, x, y, multipliers, float(np.median(np.abs(outputs(net, x))))


def _class_margin(net: MLP, x: Array, y: Array, multipliers: Array) -> tuple[Any, ...]:
    lam = multipliers.copy()
    lam[0, y[0] - 1] *= -1.0  # one is infeasible; no index is y[0] itself
    return net, x, y, lam, float(np.median(np.ptp(outputs(net, x), axis=1)))


def _with_step(net: MLP, x: Array, y: Array, multipliers: Array) -> tuple[Any, ...]:
    exact = in_float64(net)
    gradient = training_step(exact, in_float64(x), in_float64(y), 1.0) - exact.theta
    step = np.linalg.norm(exact.theta) / np.linalg.norm(gradient)  # moves θ by ‖θ‖
    return net, x, y, float(step)


def _trainable(dtype: Any, seed: int) -> list[Case]:
    """Return the cases whose ∇θΦ is the gradient of Φ and whose samples differ."""
    return [
        case
        for case in cases(dtype, seed)
        if case.inputs[0].activation.gate_is_slope
        and len(np.unique(case.inputs[1], axis=0)) == len(case.inputs[1])
    ]


def _ssim(a: Array, b: Array) -> Array:
    return structural_similarity(a, b, data_range=1.0, channel_axis=0)


def _net_and_x(*inputs: Any) -> tuple[Any, ...]:
    return inputs[:2]


_ROWS, _LOSS = "per_sample_gradients", ("value", "grad_x", "grad_multipliers")
_CONDITIONS = ("stationarity", "primal_feasibility", "dual_feasibility", "complementary_slackness")
_ALL = (
    Question("outputs", ("outputs",), outputs, _net_and_x),
    Question(_ROWS, (_ROWS,), per_sample_gradients, _net_and_x, flat=True),
    Question("stationarity_residual", ("residual",), stationarity_residual, flat=True),
    Question("stationarity", _LOSS, stationarity_by_autograd),
    Question("kkt_conditions", _CONDITIONS, kkt_conditions, _with_margin),
    Question("training_step", ("theta",), training_step, _with_step, _trainable, flat=True),
    Question("class_outputs", ("outputs",), outputs, _net_and_x, class_cases),
    Question("class_stationarity", _LOSS, stationarity_by_autograd, cases=class_cases),
    Question("class_kkt_conditions", _CONDITIONS, kkt_conditions, _class_margin, class_cases),
    Question("ssim", ("ssim",), _ssim, cases=image_cases),
)
QUESTIONS: dict[str, Question] = {question.name: question for question in _ALL}
