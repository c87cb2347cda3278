"""The questions of the conformance kit, and their right answers by autograd.

Names of dimensions: n samples, d inputs, P parameters, C channels, H and W pixels;
h_l is the width of layer l.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref.conformance import cases
from kkt_ref.conformance.cases import INPUTS, Case
from kkt_ref.metrics.ssim import structural_similarity
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.definition import (
    per_sample_gradients,
    stationarity_by_autograd,
    stationarity_residual,
)
from kkt_ref.stationarity.problems import constraints_of, max_margin

Array = np.ndarray
Answer = tuple[Array, ...]
Loss = tuple[float, Array, Array]
Conditions = tuple[float, float, float, float]


class Implementation:
    """The methods that the kit can test: write any of them.

    An implementation may be a subclass, which a type checker understands, or any other object.
    The kit skips a method that is missing or raises NotImplementedError.

    The network is given as plain NumPy arrays: ``net.weights[l]`` of shape (h_{l+1}, h_l) and
    ``net.biases[l]`` of shape (h_{l+1},) or None.  ``net.activation`` is ``ReLU()``,
    ``GatedReLU(alpha)`` or ``Softplus(alpha)``.  Vectors of length P are in the order
    W_1, b_1, W_2, ...  Answers are arrays of the dtype of the inputs, or floats.
    """

    def outputs(self, net: MLP, x: Array) -> Array:
        """Return Φ(θ; x_i), shape (n,)."""
        raise NotImplementedError

    def per_sample_gradients(self, net: MLP, x: Array) -> Array:
        """Return ∇θΦ(θ; x_i), shape (n, P)."""
        raise NotImplementedError

    def stationarity_residual(self, net: MLP, x: Array, y: Array, multipliers: Array) -> Array:
        """Return θ − Σ_i λ_i y_i ∇θΦ(θ; x_i), shape (P,)."""
        raise NotImplementedError

    def stationarity(self, net: MLP, x: Array, y: Array, multipliers: Array) -> Loss:
        """Return the squared norm of that residual, and its gradients in x (n, d) and λ (n,)."""
        raise NotImplementedError

    def kkt_conditions(
        self, net: MLP, x: Array, y: Array, multipliers: Array, margin: float
    ) -> Conditions:
        """Return how much the four conditions are violated, q being ``margin``.

        They are the relative stationarity, primal feasibility, dual feasibility and relative
        complementary slackness of :class:`~kkt_ref.kkt.KKTReport`.
        """
        raise NotImplementedError

    def training_step(self, net: MLP, x: Array, y: Array, step: float) -> Array:
        """Return θ, shape (P,), after one gradient step on the mean logistic loss."""
        raise NotImplementedError

    def class_outputs(self, net: MLP, x: Array) -> Array:
        """Return Φ(θ; x_i) of a network with K outputs, shape (n, K)."""
        raise NotImplementedError

    def class_stationarity(self, net: MLP, x: Array, y: Array, multipliers: Array) -> Loss:
        """Return ‖θ − Σ_i Σ_{j≠y_i} λ_ij ∇θ(Φ_{y_i} − Φ_j)(x_i)‖² and its gradients.

        They are those in x (n, d) and λ (n, K), for classes y_i in 0 ... K-1.  λ_ij counts for
        nothing if j = y_i, and the gradient is 0 there.
        """
        raise NotImplementedError

    def class_kkt_conditions(
        self, net: MLP, x: Array, y: Array, multipliers: Array, margin: float
    ) -> Conditions:
        """Return the same as ``kkt_conditions`` for the constraints Φ_{y_i} − Φ_j ≥ q, j ≠ y_i."""
        raise NotImplementedError

    def ssim(self, a: Array, b: Array) -> float:
        """Return Wang's SSIM of two images (C, H, W) in [0, 1], the mean over the channels."""
        raise NotImplementedError


class Question(NamedTuple):
    """A method of an implementation, its inputs and its right answer."""

    name: str  # of the method
    parts: tuple[str, ...]  # names of the arrays that the method returns
    answer: Callable[..., Any]  # maps the arguments of the method to the right answer
    takes: tuple[str, ...]  # the arguments of the method
    cases: Callable[[Any, int], list[Case]] = cases.cases  # maps a dtype and a seed to the cases
    flat: bool = False  # whether the last axis of the answer is that of θ

    def arguments(self, case: Case) -> tuple[Any, ...]:
        """Return the arguments of the method for a case."""
        named = dict(zip(("a", "b") if self.name == "ssim" else INPUTS, case.inputs, strict=False))
        return tuple(named[name] for name in self.takes)

    def reference(self, *arguments: Any) -> Answer:
        """Return the right answer, computed in float64 from the rounded numbers."""
        answer = self.answer(*map(in_float64, arguments))
        return tuple(map(np.asarray, answer if len(self.parts) > 1 else (answer,)))


def relative(found: Array, wanted: Array) -> float:
    """Return ‖found − wanted‖ / ‖wanted‖, or ‖found‖ if ``wanted`` is zero."""
    with np.errstate(all="ignore"):  # an answer may be as large as it likes
        found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
        size = float(np.linalg.norm(wanted))
        return float(np.linalg.norm(found - wanted)) / (size or 1.0)


def names_of(net: MLP) -> list[str]:
    """Return W_1, b_1, W_2, ... for the arrays of a network."""
    pairs = (zip("Wb", layer, strict=True) for layer in net.layers)
    return [f"{k}_{i}" for i, pair in enumerate(pairs, 1) for k, p in pair if p is not None]


def in_float64(argument: Any) -> Any:
    """Return a network or an array in float64, and anything else as it is."""
    floating = isinstance(argument, MLP) or getattr(argument, "dtype", np.dtype(int)).kind == "f"
    return argument.astype(np.float64) if floating else argument


def outputs(net: MLP, x: Array) -> Array:
    """Return Φ(θ; x_i), shape (n,) for one output, else (n, K)."""
    found = net.outputs(x)
    return found[:, 0] if net.K == 1 else found


def kkt_conditions(
    net: MLP, x: Array, y: Array, multipliers: Array, margin: float, residual: Array | None = None
) -> Conditions:
    """Return the right answer to the question of this name, for any number of outputs."""
    if residual is None:
        residual = stationarity_residual(net, x, y, multipliers)  # (P,)
    u, lam = constraints(net, x, y, multipliers)  # (k,)
    mass = np.sum(np.abs(lam)) * margin
    return (
        np.linalg.norm(residual) / np.linalg.norm(net.theta),
        np.max(margin - u, initial=0.0) / margin,
        np.max(-lam, initial=0.0),
        np.sum(np.abs(lam * (u - margin))) / mass if mass > 0 else 0.0,
    )


def constraints(net: MLP, x: Array, y: Array, multipliers: Array) -> tuple[Array, Array]:
    """Return ⟨D_ij, Φ(x_i)⟩ and λ_ij of all k constraints, both (k,)."""
    found = net.outputs(x)  # (n, K)
    u = constraints_of(max_margin(net.K).directions(y, found), found)  # (n, J)
    constrained = np.isfinite(u)
    return u[constrained], multipliers.reshape(u.shape)[constrained]


def training_step(net: MLP, x: Array, y: Array, step: float) -> Array:
    """Return θ − step · ∇θ (1/n) Σ_i log(1 + exp(−y_i Φ(θ; x_i))), shape (P,)."""
    c = y * scipy.special.expit(-y * outputs(net, x)) / len(y)  # (n,)
    pull = net.weighted_gradient(x, c[:, None])
    gradient = np.concatenate([g.ravel() for g in pull])  # (P,)
    return net.theta + step * gradient


_ssim = partial(structural_similarity, data_range=1.0, channel_axis=0)
_ROWS, _LOSS = "per_sample_gradients", ("value", "grad_x", "grad_multipliers")
_CONDITIONS = ("stationarity", "primal_feasibility", "dual_feasibility", "complementary_slackness")
_POINTS, _SUM, _REPORT, _STEP = INPUTS[:2], INPUTS[:4], INPUTS[:5], ("net", "x", "y", "step")
_ALL = (
    Question("outputs", ("outputs",), outputs, _POINTS),
    Question(_ROWS, (_ROWS,), per_sample_gradients, _POINTS, flat=True),
    Question("stationarity_residual", ("residual",), stationarity_residual, _SUM, flat=True),
    Question("stationarity", _LOSS, stationarity_by_autograd, _SUM),
    Question("kkt_conditions", _CONDITIONS, kkt_conditions, _REPORT),
    Question("training_step", ("theta",), training_step, _STEP, cases.trainable_cases, flat=True),
    Question("class_outputs", ("outputs",), outputs, _POINTS, cases.class_cases),
    Question("class_stationarity", _LOSS, stationarity_by_autograd, _SUM, cases.class_cases),
    Question("class_kkt_conditions", _CONDITIONS, kkt_conditions, _REPORT, cases.full_class_cases),
    Question("ssim", ("ssim",), _ssim, ("a", "b"), cases.image_cases),
)
QUESTIONS: dict[str, Question] = {question.name: question for question in _ALL}
