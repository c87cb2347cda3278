r"""The stationarity loss and its gradient without per-sample gradients.

With coefficients U, as in :mod:`kkt_ref.stationarity.problems` (for two classes U_i = λ_i y_i),
δ_l(x_i) the signals backpropagated from U_i and a_l the activations,

    Σ_ic U_ic ∇_{W_l}Φ_c(x_i) = Δ_lᵀ A_{l-1},    where the rows of Δ_l are δ_l(x_i),

is one backward pass.  Let s = w ⊙ (Σ U_ic ∇Φ_ic − θ), half the slope of the loss in that sum.
Then

    ∂/∂U_ic = 2 S_c(x_i),   ∂/∂x_i = 2 Σ_c U_ic ∇_x S_c(x_i),   S_c(x) = ⟨s, ∇θΦ_c(x)⟩.

S is the forward tangent of Φ in the direction s.  So one tangent pass and one reverse pass
complete the gradient: seven matrix products a layer, and nothing of size (m, P).

The functions use the Array API only, so that arrays may be those of NumPy, CuPy, PyTorch or
any other namespace.  Functions may modify temporaries in place, never their arguments.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity.backend import namespace
from kkt_ref.stationarity.layer_residual import LayerResidual, layer_residual
from kkt_ref.stationarity.problems import Problem, coefficients_of, margins_of, max_margin

Array = Any


class Forward(NamedTuple):
    """What a forward pass leaves behind, for layers 0..L-1, 1..L and 1..L-1."""

    net: MLP
    inputs: list[Array]  # a_0 ... a_{L-1}, each (m, h_l)
    preactivations: list[Array]  # z_1 ... z_L, each (m, h_l)
    gates: list[Array]  # of the hidden layers, each (m, h_l)

    @property
    def outputs(self) -> Array:
        """Φ(θ; x_i), shape (m,) for one output, else (m, K)."""
        z = self.preactivations[-1]
        return z[:, 0] if z.shape[1] == 1 else z


class Backward(NamedTuple):
    """The signals of a backward pass from coefficients U."""

    deltas: list[Array]  # δ_l = Σ_c U_ic ∂Φ_c/∂z_l for l = 1..L, each (m, h_l)
    pulled: list[Array]  # W_{l+1}ᵀ δ_{l+1} for l = 1..L-1, before the gate, (m, h_l)


def forward(net: MLP, x: Array) -> Forward:
    """Run the network on ``x`` of shape (m, d)."""
    xp, act = namespace(x), net.activation
    a, z, trace = x, x, Forward(net, [], [], [])
    for layer, (W, b) in enumerate(net.layers):
        if layer > 0:
            gate = act.gate(z, xp)  # (m, h_{l-1})
            a = z * gate if act.value_is_gated else act.value(z, xp)  # (m, h_{l-1})
            trace.gates.append(gate)
        z = a @ W.T  # (m, h_l)
        if b is not None:
            z += b
        trace.inputs.append(a)
        trace.preactivations.append(z)
    return trace


def backward(trace: Forward, coefficients: Array) -> Backward:
    """Run the backward pass from δ_L = U, the coefficients of shape (m, K), through the gates."""
    deltas, pulled = [coefficients], []
    for W, gate in zip(trace.net.weights[:0:-1], trace.gates[::-1], strict=True):
        # with one output there is nothing to sum, and a product of matrices takes longer
        pulled.append(deltas[-1] * W if W.shape[0] == 1 else deltas[-1] @ W)  # (m, h_l)
        deltas.append(gate * pulled[-1])  # (m, h_l)
    return Backward(deltas[::-1], pulled[::-1])


def gradient_sum(trace: Forward, deltas: list[Array]) -> list[Array]:
    """Σ_i Σ_c U_ic ∇θΦ_c(θ; x_i), shaped like ``net.arrays``, from the signals δ_l."""
    xp, sums = namespace(trace.inputs[0]), []
    for a, delta, b in zip(trace.inputs, deltas, trace.net.biases, strict=True):
        sums.append(delta.T @ a)  # (h_l, h_{l-1})
        if b is not None:
            sums.append(xp.sum(delta, axis=0))  # (h_l,)
    return sums


def tangent(trace: Forward, own: Sequence[Array]) -> list[Array]:
    """The forward tangent of Φ in a direction s of parameter space, at z_1 ... z_L.

    It is t_l = (gate_{l-1} ⊙ t_{l-1}) W_lᵀ + A_{l-1} s_lᵀ, shape (m, h_l), where ``own`` are the
    last products.  The last tangent is S_c(x_i) = ⟨s, ∇θΦ_c(x_i)⟩.
    """
    tangents: list[Array] = []
    for layer, t in enumerate(own):
        if layer > 0:
            t = t + (trace.gates[layer - 1] * tangents[-1]) @ trace.net.weights[layer].T
        tangents.append(t)  # (m, h_l)
    return tangents


def reverse(
    trace: Forward, back: Backward, tangents: list[Array], residuals: list[LayerResidual]
) -> Array:
    """∇_x of Σ_ic U_ic S_c(x_i), shape (m, d), with the U of ``back``.

    The adjoint of a_{l-1} is D_l s_l + Z̄_l W_l.  That of z_{l-1} is the adjoint of a_{l-1}
    times the slope, plus what the derivative of the gate contributes.
    """
    xp, net, act = namespace(trace.inputs[0]), trace.net, trace.net.activation
    a_bar = z_bar = None  # adjoints of a_l and z_l, (m, h_l)
    for layer in reversed(range(net.depth)):
        if a_bar is not None:
            gate, z, t = trace.gates[layer], trace.preactivations[layer], tangents[layer]
            z_bar = a_bar * (gate if act.gate_is_slope else act.slope(z, xp))
            gate_slope = act.gate_slope(gate, z, xp)
            if gate_slope is not None:
                z_bar = z_bar + gate_slope * t * back.pulled[layer]
        _, a_bar, left = residuals[layer]
        if left > 0:  # the Gram form
            rest = -left * back.deltas[layer]
            z_bar = rest if z_bar is None else z_bar + rest
        if z_bar is not None:
            a_bar = a_bar + z_bar @ net.weights[layer]
    return a_bar


class StationarityTerms(NamedTuple):
    """The stationarity loss, its parts and its gradient."""

    value: Array  # Σ_l w_l ‖r_l‖², a scalar
    by_layer: list[Array]  # ‖r_l‖² without weights, scalars
    outputs: Array  # Φ(θ; x_i), (m,) for one output, else (m, K)
    grad_x: Array  # (m, d)
    grad_multipliers: Array  # as the multipliers


def stationarity_and_gradient(
    net: MLP,
    x: Array,
    y: Array,
    multipliers: Array,
    layer_weights: Sequence[float] | None = None,
    *,
    problem: Problem | None = None,
) -> StationarityTerms:
    """Σ_l w_l ‖θ − Σ_ic U_ic ∇θΦ_c(θ; x_i)‖²_l and its gradient in x and λ.

    Optimisers call this in every step, so that it checks nothing.

    Parameters
    ----------
    net : MLP
        Its parameters are in the namespace of ``x``.
    x, y, multipliers
        As in :func:`~kkt_ref.stationarity_loss`, for m candidates.
    layer_weights : L numbers ≥ 0, optional
        Ones unless given.
    problem : Problem, optional
        What U is; that of two classes, or of K classes, unless given.
    """
    if isinstance(net.weights[0], np.ndarray):
        x, y, multipliers = map(np.asarray, (x, y, multipliers))
    trace = forward(net, x)
    outputs, problem = trace.preactivations[-1], problem or max_margin(net.K)
    directions = problem.directions(y, outputs)  # (m, J, K)
    back = backward(trace, coefficients_of(directions, multipliers))

    weights = (1.0,) * net.depth if layer_weights is None else layer_weights
    layers = zip(weights, trace.inputs, trace.preactivations, back.deltas, net.layers, strict=True)
    measured = [layer_residual(w, a, z, delta, W, b) for w, a, z, delta, (W, b) in layers]
    by_layer = [square for square, _ in measured]
    residuals = [s for _, s in measured]  # s = w ⊙ (Σ U_ic ∇Φ_ic − θ)
    value = sum(w * square for w, square in zip(weights, by_layer, strict=True))

    tangents = tangent(trace, [s.tangent for s in residuals])
    grad_x = 2.0 * reverse(trace, back, tangents, residuals)
    in_directions = margins_of(directions, 2.0 * tangents[-1])  # (m, J)
    grad_multipliers = namespace(x).reshape(in_directions, multipliers.shape)
    return StationarityTerms(value, by_layer, trace.outputs, grad_x, grad_multipliers)
