r"""The stationarity loss without per-sample gradients.

With c_i = λ_i y_i, δ_l the backpropagated signal and a_l the activations,

    Σ_i c_i ∇_{W_l}Φ(x_i) = Δ_lᵀ diag(c) A_{l-1}

is one backward pass.  With the weighted residual s = w ⊙ (θ − Σ c_i ∇Φ_i),

    ∂/∂c_i = −2 S(x_i),   ∂/∂x_i = −2 c_i ∇_x S(x_i),   S(x) = ⟨s, ∇θΦ(x)⟩,

and S is the forward tangent of Φ in direction s, so that one tangent pass
and one reverse pass finish the gradient: seven matrix products a layer, and
nothing of size (m, P).  The definition it must equal, by autograd, is
:mod:`kkt_ref.stationarity`.

The functions use the Array-API subset only: NumPy, CuPy, PyTorch or any
other namespace that the arrays bring along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kkt_ref.mlp import MLP

Array = Any
Pair = tuple[Array | None, Array | None]


def namespace(x: Array) -> Any:
    """Return the Array-API namespace of ``x``."""
    return x.__array_namespace__()


class Forward(NamedTuple):
    """What a forward pass leaves behind, for layers 0..L-1 and 1..L."""

    inputs: list[Array]  # a_0 ... a_{L-1}, each (m, h_l)
    preactivations: list[Array]  # z_1 ... z_L, each (m, h_l)

    @property
    def outputs(self) -> Array:
        """Φ(θ; x_i), shape (m,)."""
        return self.preactivations[-1][:, 0]


class Backward(NamedTuple):
    """Signals of a backward pass from Φ."""

    deltas: list[Array]  # δ_1 ... δ_L = ∂Φ/∂z_l, each (m, h_l)
    pulled: list[Array]  # W_{l+1}ᵀ δ_{l+1} for l = 1..L-1, before the gate, (m, h_l)


def forward(net: MLP, x: Array) -> Forward:
    """Run the network on ``x`` of shape (m, d)."""
    xp = namespace(x)
    inputs, preactivations = [x], []
    for W, b in zip(net.weights, net.biases, strict=True):
        z = inputs[-1] @ W.T  # (m, h_l)
        if b is not None:
            z = z + b
        preactivations.append(z)
        inputs.append(net.activation.value(z, xp))
    return Forward(inputs[:-1], preactivations)


def gates_of(net: MLP, trace: Forward) -> list[Array]:
    """The gates of the hidden layers at a forward pass, each (m, h_l)."""
    xp = namespace(trace.inputs[0])
    return [net.activation.gate(z, xp) for z in trace.preactivations[:-1]]


def backward(net: MLP, gates: list[Array], ones: Array) -> Backward:
    """Pull ∂Φ/∂z_L = 1 (``ones``, shape (m, 1)) down through the gates."""
    deltas, pulled = [ones], []
    for W, gate in zip(net.weights[:0:-1], gates[::-1], strict=True):
        pulled.append(deltas[-1] @ W)  # (m, h_l)
        deltas.append(gate * pulled[-1])  # (m, h_l)
    return Backward(deltas[::-1], pulled[::-1])


def weighted_gradient(
    net: MLP, trace: Forward, back: Backward, c: Array, wanted: list[bool] | None = None
) -> list[Pair]:
    """Σ_i c_i ∇θΦ(θ; x_i) as pairs (weight, bias), one a layer; None where not wanted."""
    xp = namespace(c)
    total: list[Pair] = []
    for layer, (a, delta) in enumerate(zip(trace.inputs, back.deltas, strict=True)):
        if wanted is not None and not wanted[layer]:
            total.append((None, None))
            continue
        scaled = c[:, None] * delta  # (m, h_l)
        has_bias = net.biases[layer] is not None
        total.append((scaled.T @ a, xp.sum(scaled, axis=0) if has_bias else None))
    return total


class Tangent(NamedTuple):
    """Forward tangent of Φ in a direction s of parameter space."""

    values: Array  # S(x_i) = ⟨s, ∇θΦ(x_i)⟩, (m,)
    layers: list[Array | None]  # t_l, the tangent of z_l, l = 1..L, (m, h_l); None is zero


def tangent(net: MLP, trace: Forward, gates: list[Array], direction: list[Pair]) -> Tangent:
    """S(x_i) = ⟨s, ∇θΦ(x_i)⟩, with s given as pairs (weight, bias), None for zero."""
    xp = namespace(trace.inputs[0])
    layers: list[Array | None] = []
    for layer, (a, (S, s_b)) in enumerate(zip(trace.inputs, direction, strict=True)):
        terms = []
        if S is not None:
            terms.append(a @ S.T)  # (m, h_l)
        if s_b is not None:
            terms.append(s_b)
        if layer > 0 and layers[-1] is not None:
            terms.append((gates[layer - 1] * layers[-1]) @ net.weights[layer].T)  # (m, h_l)
        layers.append(sum(terms[1:], terms[0]) if terms else None)
    if layers[-1] is None:
        return Tangent(xp.zeros_like(trace.outputs), layers)
    return Tangent(layers[-1][:, 0], layers)


def reverse(
    net: MLP,
    trace: Forward,
    back: Backward,
    tang: Tangent,
    direction: list[Pair],
    tau: Array,
    zeta: Array | None = None,
) -> Array:
    """∇_x of Σ_i τ_i S(x_i) + ζ_i Φ(x_i), shape (m, d)."""
    xp = namespace(tau)
    act = net.activation
    z_bar = None if zeta is None else zeta[:, None]  # adjoint of z_l, (m, h_l)
    for layer in range(net.depth - 1, -1, -1):
        terms = []
        if direction[layer][0] is not None:
            terms.append((tau[:, None] * back.deltas[layer]) @ direction[layer][0])
        if z_bar is not None:
            terms.append(z_bar @ net.weights[layer])
        a_bar = sum(terms[1:], terms[0]) if terms else None  # adjoint of a_{l-1}, (m, h_{l-1})
        if layer == 0:
            break
        z, t = trace.preactivations[layer - 1], tang.layers[layer - 1]
        terms = []
        if a_bar is not None:
            terms.append(act.slope(z, xp) * a_bar)
        gate_slope = act.gate_slope(z, xp)
        if t is not None and gate_slope is not None:
            u_bar = tau[:, None] * back.pulled[layer - 1]  # adjoint of gate ⊙ t
            terms.append(gate_slope * t * u_bar)
        z_bar = sum(terms[1:], terms[0]) if terms else None
    return xp.zeros_like(trace.inputs[0]) if a_bar is None else a_bar


class StationarityTerms(NamedTuple):
    """The stationarity loss, its parts and its gradient."""

    value: Array  # Σ_l w_l ‖r_l‖² + extra, a scalar
    by_layer: list[Array]  # ‖r_l‖² unweighted, one scalar a layer; None where w_l = 0
    outputs: Array  # Φ(θ; x_i), (m,)
    grad_x: Array  # (m, d)
    grad_multipliers: Array  # (m,)


def stationarity_and_gradient(
    net: MLP,
    x: Array,
    y: Array,
    multipliers: Array,
    layer_weights: Sequence[float],
    output_term: Callable[[Array], tuple[Array, Array]] | None = None,
) -> StationarityTerms:
    """Σ_l w_l ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²_l and its gradient in x and λ.

    Parameters
    ----------
    net : MLP
        Parameters in the namespace of ``x``.
    x : array of shape (m, d)
    y : array of shape (m,), entries -1 and +1
    multipliers : array of shape (m,)
    layer_weights : L numbers ≥ 0
        Layers of weight zero skip their work.
    output_term : callable, optional
        Maps Φ of shape (m,) to a value, added to the loss, and its gradient in
        Φ of shape (m,), carried on to ``grad_x``.

    Returns
    -------
    StationarityTerms
    """
    xp = namespace(x)
    trace = forward(net, x)
    gates = gates_of(net, trace)
    back = backward(net, gates, xp.ones_like(trace.preactivations[-1]))
    total = weighted_gradient(net, trace, back, multipliers * y, [w > 0 for w in layer_weights])

    direction: list[Pair] = []
    by_layer: list[Array] = []
    value = 0.0
    for w, layer, sums in zip(layer_weights, net.layers, total, strict=True):
        residual = [None if g is None else p - g for p, g in zip(layer, sums, strict=True)]
        square = None if w == 0 else sum(_square(r, xp) for r in residual if r is not None)
        by_layer.append(square)
        value = value if w == 0 else value + w * square
        direction.append(tuple(r if r is None or w == 1 else w * r for r in residual))

    tang = tangent(net, trace, gates, direction)
    zeta = None
    if output_term is not None:
        extra, zeta = output_term(trace.outputs)
        value = value + extra
    grad_x = reverse(net, trace, back, tang, direction, -2.0 * multipliers * y, zeta)
    return StationarityTerms(value, by_layer, trace.outputs, grad_x, -2.0 * y * tang.values)


def _square(array: Array, xp: Any) -> Array:
    flat = xp.reshape(array, (-1,))
    return xp.vecdot(flat, flat)
