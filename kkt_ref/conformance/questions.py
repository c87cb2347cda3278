"""What the conformance kit asks: each question with its inputs and the right answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import expit

from kkt_ref.conformance.cases import Case, ImageCase, cases, image_cases
from kkt_ref.metrics.ssim import WANG, structural_similarity
from kkt_ref.network.activations import GatedReLU
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.definition import stationarity_by_autograd, stationarity_residual
from kkt_ref.stationarity.gradients import per_sample_gradients, phi, weighted_phi_gradient

Array = np.ndarray
Answer = tuple[Array, ...]


class Implementation(Protocol):
    """What the kit can ask; leave out what there is not, or raise NotImplementedError.

    ``net`` holds plain arrays: ``net.weights[l]`` is (h_{l+1}, h_l), ``net.biases[l]`` is
    (h_{l+1},) or None; ``net.activation`` is ``ReLU()``, ``GatedReLU(alpha)`` or
    ``Softplus(alpha)``.  Flat gradients are in the order W_1, b_1, W_2, ...
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
        """Return its squared norm and the gradients in x, (n, d), and λ, (n,)."""

    def kkt_conditions(
        self, net: MLP, x: Array, y: Array, multipliers: Array, margin: float
    ) -> tuple[float, float, float, float]:
        """Return the violations, as :class:`~kkt_ref.KKTReport` defines them.

        Stationarity relative, primal feasibility, dual feasibility, and complementary
        slackness relative; q is ``margin``.
        """

    def training_step(self, net: MLP, x: Array, y: Array, step: float) -> Array:
        """Return θ, shape (P,), after a gradient step on the mean logistic loss."""

    def ssim(self, a: Array, b: Array) -> float:
        """Return Wang's SSIM of images (C, H, W) in [0, 1]: :data:`kkt_ref.metrics.ssim.WANG`."""


class Question(NamedTuple):
    """A method of an implementation, and what it is called with."""

    name: str
    parts: tuple[str, ...]  # names of what it returns; one is returned bare
    flat: bool  # whether the answer's last axis is θ, to be compared array by array
    cases: Callable[[Any, int], list[Any]]  # of a dtype and a seed
    arguments: Callable[[Any], tuple[Any, ...]]  # of a case
    answer: Callable[..., Any]  # of the arguments, by autograd, in their dtype

    def reference(self, case: Case | ImageCase) -> Answer:
        """Return the right answer, in float64, from the case's own numbers."""
        answer = self.answer(*map(in_float64, self.arguments(case)))
        return tuple(map(np.asarray, answer if len(self.parts) > 1 else (answer,)))


def in_float64(argument: Any) -> Any:
    """Return a network or an array in float64, anything else as it is."""
    return argument.astype(np.float64) if isinstance(argument, (MLP, np.ndarray)) else argument


def kkt_conditions(
    net: MLP, x: Array, y: Array, multipliers: Array, margin: float
) -> tuple[float, float, float, float]:
    """Return the violations of the four conditions, as :class:`~kkt_ref.KKTReport` has them."""
    residual = stationarity_residual(net, x, y, multipliers)
    u = y * phi(net.arrays, x, net)  # (n,)
    mass = np.sum(np.abs(multipliers)) * margin
    return (
        np.linalg.norm(residual) / np.linalg.norm(net.theta),
        max((margin - u).max(), 0.0) / margin,
        max((-multipliers).max(), 0.0),
        np.sum(np.abs(multipliers * (u - margin))) / mass if mass > 0 else 0.0,
    )


def training_step(net: MLP, x: Array, y: Array, step: float) -> Array:
    """Return θ − step · ∇θ (1/n) Σ_i log(1 + exp(−y_i Φ(θ; x_i))), flat."""
    pull = y * expit(-y * phi(net.arrays, x, net)) / len(y)  # (n,)
    moved = zip(net.arrays, weighted_phi_gradient(net, x, pull), strict=True)
    return np.concatenate([(p + step * g).ravel() for p, g in moved])  # (P,)


def _with_margin(case: Case) -> tuple[Any, ...]:
    multipliers = case.multipliers.copy()
    multipliers[0] *= -1  # so that dual feasibility is violated
    margin = np.median(np.abs(phi(case.net.arrays, case.x, case.net)))
    return (*case[1:4], multipliers, float(margin))


def _with_step(case: Case) -> tuple[Any, ...]:
    net, x, y = map(in_float64, case[1:4])
    gradient = np.linalg.norm(training_step(net, x, y, 1.0) - net.theta)
    return (*case[1:4], float(np.linalg.norm(net.theta) / gradient))  # as long as θ


def _trainable(dtype: Any, seed: int) -> list[Case]:
    """All but smoothed gates, whose ∇θΦ is no gradient of Φ, and equal samples."""
    return [
        case
        for case in cases(dtype, seed)
        if not isinstance(case.net.activation, GatedReLU)
        and len(np.unique(case.x, axis=0)) == len(case.x)
    ]


_ALL: tuple[Question, ...] = (
    Question(
        "outputs",
        ("outputs",),
        False,
        cases,
        lambda case: case[1:3],
        lambda net, x: phi(net.arrays, x, net),
    ),
    Question(
        "per_sample_gradients",
        ("per_sample_gradients",),
        True,
        cases,
        lambda case: case[1:3],
        per_sample_gradients,
    ),
    Question(
        "stationarity_residual",
        ("residual",),
        True,
        cases,
        lambda case: case[1:5],
        stationarity_residual,
    ),
    Question(
        "stationarity",
        ("value", "grad_x", "grad_multipliers"),
        False,
        cases,
        lambda case: case[1:5],
        stationarity_by_autograd,
    ),
    Question(
        "kkt_conditions",
        ("stationarity", "primal_feasibility", "dual_feasibility", "complementary_slackness"),
        False,
        cases,
        _with_margin,
        kkt_conditions,
    ),
    Question("training_step", ("theta",), True, _trainable, _with_step, training_step),
    Question(
        "ssim",
        ("ssim",),
        False,
        image_cases,
        lambda case: case[1:3],
        lambda a, b: structural_similarity(a, b, data_range=1.0, channel_axis=0, settings=WANG),
    ),
)
QUESTIONS: dict[str, Question] = {question.name: question for question in _ALL}
