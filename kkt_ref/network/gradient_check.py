"""Checks of a network that a user brings, at four samples, before any long work.

A wrong adapter gives numbers that look right.  So its answers are compared with each other.
"""

from typing import Any

import numpy as np

from kkt_ref._validation import check_points
from kkt_ref.network.protocol import Network, check_net

Array = np.ndarray
SAMPLES = 4
STEPS = (0.1, 0.03, 0.01, 0.003, 0.001)  # relative to the parameters, or to what outputs change
TOLERANCE = 0.1  # of a finite difference, which may cross kinks


def check_gradients(net: Network, x: Any) -> None:
    """Raise if outputs and gradients of ``net`` contradict each other at the first samples.

    The samples ``x`` have shape (n, d) and the network's dtype.  A ValueError is raised if outputs
    or gradients have a wrong shape or are not finite, the same question gets two answers, the
    output of a sample depends on the others of its batch, the rows of gradients do not add up, or
    a finite difference along the gradient of a parameter array is not its norm.
    """
    check_net(net)
    x = check_points(x, "x", d=net.d, dtype=net.dtype)[:SAMPLES]
    outputs = _checked(net.outputs(x), (len(x), net.K), "outputs(x)")  # (n, K)
    alone = np.concatenate([net.outputs(x[i : i + 1]) for i in range(len(x))])
    for again, wrong in (
        (net.outputs(x), "the same samples got two different outputs; switch dropout"),
        (alone, "a sample's output depends on the other samples; switch batch normalisation"),
    ):
        if not _near(again, outputs):
            raise ValueError(f"net: {wrong} to evaluation, as model.eval() does in PyTorch")
    U = np.random.default_rng(0).normal(size=outputs.shape).astype(net.dtype)
    total, arrays = net.weighted_gradient(x, U), net.arrays
    if len(total) != len(arrays):
        raise ValueError(
            f"net: expected {len(arrays)} gradients, one for each of net.arrays, got {len(total)}"
        )
    for i, (g, p) in enumerate(zip(total, arrays, strict=True)):
        _checked(g, p.shape, f"gradient {i} of weighted_gradient")
    rows = _checked(net.gradient_rows(x, U), (len(x), net.theta.size), "gradient_rows")
    if not _near(rows.sum(axis=0), np.concatenate([np.ravel(g) for g in total])):
        raise ValueError("net: the rows of gradient_rows do not add up to weighted_gradient")
    noise = 5 * float(np.finfo(net.dtype).eps * np.abs(outputs).max()) * U.size**0.5
    for i, g in enumerate(total):
        _check_difference(net, x, U, i, np.asarray(g), noise)


def _check_difference(net: Network, x: Array, U: Array, i: int, g: Array, noise: float) -> None:
    """Compare ‖g‖ with the change of Σ U Φ along g, or 0 with that along a random direction."""
    norm, arrays, p = float(np.linalg.norm(g)), list(net.arrays), net.arrays[i]
    random = np.random.default_rng(0).normal(size=p.shape) / p.size**0.5
    direction = g / norm if norm > 0 else random
    reach = float(np.linalg.norm(p)) or 0.01
    if norm > 0:  # no farther than outputs change a lot
        reach = min(reach, noise / float(np.finfo(p.dtype).eps) / norm)
    found = []
    for h in (step * reach for step in STEPS):
        if norm > 0 and noise / h > TOLERANCE * norm:
            break  # so small a change is rounding
        values = []
        for signed in (h, -h):
            arrays[i] = (p + signed * direction).astype(p.dtype)
            values.append(float(np.sum(U * np.asarray(net.with_arrays(arrays).outputs(x), float))))
        found.append((values[0] - values[1]) / (2 * h))
        if abs(found[-1] - norm) <= (TOLERANCE * norm or noise / h):
            return
    if found:
        nearest = min(found, key=lambda value: abs(value - norm))
        raise ValueError(
            f"net: the gradient of parameter array {i}, of shape {p.shape}, does not match the "
            f"outputs: a finite difference along it is {nearest:.3g}, and its norm {norm:.3g}"
        )


def _checked(values: Any, shape: tuple[int, ...], what: str) -> Array:
    array = np.array(values)  # a copy, since a network may return its buffer
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(
            f"net: expected {what} to be a floating array of shape {shape}, got shape "
            f"{array.shape} and dtype {array.dtype}"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"net: {what} has NaN or infinity")
    return array


def _near(a: Any, b: Array) -> bool:
    """Whether arrays agree up to the rounding of sums in another order."""
    size = float(np.finfo(b.dtype).eps) ** 0.6 * float(np.abs(b).max())
    return np.shape(a) == b.shape and bool(np.all(np.abs(a - b) <= size))
