"""The questions of the conformance kit: the contract, and the cases of each method.

Names of dimensions: n samples, d inputs, P parameters, C channels, H and W pixels;
h_l is the width of layer l.  A sample has J constraints, and all of them have k.
"""

import inspect
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.conformance.cases import Case, Inputs, cases
from kkt_ref.conformance.steps import Answer, computed
from kkt_ref.network.mlp import MLP

Array = np.ndarray
Loss = tuple[float, Array, Array]
Conditions = tuple[float, float, float, float]


class Implementation:
    """The methods that the kit can test: write any of them.

    An implementation may be a subclass, which a type checker understands, or any other object.
    The kit skips a method that is missing.  A case for which a method raises NotImplementedError
    is unanswered, and the whole is not right until this failure is expected.

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
        """Return how much the four conditions are violated, as four numbers; q is ``margin``.

            stationarity              ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖ / ‖θ‖
            primal feasibility        max_i (q − y_i Φ(θ; x_i))₊ / q
            dual feasibility          max_i (−λ_i)₊
            complementary slackness   Σ_i |λ_i (y_i Φ(θ; x_i) − q)| / (q Σ_i |λ_i|)

        (t)₊ is max(t, 0).  The last is 0 if all λ_i are.
        """
        raise NotImplementedError

    def weighted_stationarity(
        self, net: MLP, x: Array, y: Array, multipliers: Array, layer_weights: Array
    ) -> Loss:
        """Return Σ_l w_l ‖r_l‖² and its gradients in x (n, d) and λ (n,), w being (L,).

        r_l is the part of the residual that belongs to W_l and b_l.
        """
        raise NotImplementedError

    def epsilon_delta(
        self, net: MLP, x: Array, y: Array, multipliers: Array, margin: float
    ) -> tuple[float, float]:
        """Return ε and δ of the approximate KKT point θ / q^{1/L}, with q = ``margin``.

            ε = ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖ / q^{1/L}
            δ = max_i λ_i q^{(L−2)/L} (y_i Φ(θ; x_i) / q − 1)

        L is the number of weight matrices.
        """
        raise NotImplementedError

    def training_step(self, net: MLP, x: Array, y: Array, step: float) -> Array:
        """Return θ − step · ∇θ (1/n) Σ_i log(1 + exp(−y_i Φ(θ; x_i))), shape (P,)."""
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
        """Return the same as ``kkt_conditions`` for the constraints Φ_{y_i} − Φ_j ≥ q, j ≠ y_i.

        Maxima and sums go over all (i, j) with j ≠ y_i.
        """
        raise NotImplementedError

    def ssim(self, a: Array, b: Array) -> float:
        """Return Wang's SSIM of two images (C, H, W) in [0, 1], the mean over the channels."""
        raise NotImplementedError


class Question(NamedTuple):
    """A method of an implementation, and the cases about which it is asked."""

    name: str  # of the method
    family: str  # of the cases; it is asked of those that have all of its arguments
    parts: tuple[str, ...]  # names of the arrays that the method returns
    flat: bool = False  # whether the last axis of the answer is that of θ

    def right(self, inputs: Inputs) -> Answer:
        """Return the right arrays: those of all steps without a mistake."""
        return tuple(map(np.asarray, computed(self.name, inputs)))

    def cases(self, dtype: Any, seed: int) -> list[Case]:
        """Draw the cases that have all arguments of the method, and leave out other inputs."""
        _, *arguments = inspect.signature(getattr(Implementation, self.name)).parameters
        return [
            case._replace(inputs={name: case.inputs[name] for name in arguments})
            for case in cases(self.family, dtype, seed)
            if case.inputs.keys() >= {*arguments}
        ]


_TWO, _MANY, _ROWS = "two_classes", "classes", "per_sample_gradients"
_LOSS = ("value", "grad_x", "grad_multipliers")
_CONDITIONS = ("stationarity", "primal_feasibility", "dual_feasibility", "complementary_slackness")
_ALL = (
    Question("outputs", _TWO, ("outputs",)),
    Question(_ROWS, _TWO, (_ROWS,), flat=True),
    Question("stationarity_residual", _TWO, ("residual",), flat=True),
    Question("stationarity", _TWO, _LOSS),
    Question("weighted_stationarity", _TWO, _LOSS),
    Question("kkt_conditions", _TWO, _CONDITIONS),
    Question("epsilon_delta", _TWO, ("epsilon", "delta")),
    Question("training_step", _TWO, ("theta",), flat=True),
    Question("class_outputs", _MANY, ("outputs",)),
    Question("class_stationarity", _MANY, _LOSS),
    Question("class_kkt_conditions", _MANY, _CONDITIONS),
    Question("ssim", "images", ("ssim",)),
)
QUESTIONS: dict[str, Question] = {question.name: question for question in _ALL}
