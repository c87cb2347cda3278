r"""Full-batch gradient descent on the mean logistic loss: the paper's, and loss-scaled.

Both follow the direction Σ_i p_i y_i ∇θΦ(x_i), p_i = −loss'_i, by one closed
form pass a step.  The paper's takes a fixed step.  The loss-scaled one takes
the step rate / (loss · max_i ‖∇θΦ(x_i)‖²): ascent on −log(mean loss), which
follows the same path in direction and reaches a loss of 1e-300 as readily as 1e-3
(Lyu & Li 2020, section 6).  Signs and moments (Adam) are no substitute: they
converge to KKT points of other norms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kkt_ref._validation import check_count, check_positive, check_separable
from kkt_ref.network._validation import check_net, check_samples
from kkt_ref.network.mlp import MLP
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.backend import Backend, get_backend
from kkt_ref.training.history import History, Record, TrainResult
from kkt_ref.training.logistic import log_mean_loss, loss_weights

Callback = Callable[[Record, MLP], object]


def gradient_descent(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    *,
    step: float = 0.01,
    max_steps: int = 1_000_000,
    target_loss: float | None = None,
    record_every: int = 1000,
    callback: Callback | None = None,
    backend: str | Backend = "numpy",
) -> TrainResult:
    """Train by the paper's recipe: gradient descent with a fixed step.

    Parameters
    ----------
    net : MLP
        The start; it is not changed.
    x : array of shape (n, d), dtype as the network's
    y : array of shape (n,), entries -1 and +1
    step : float
        Step size, > 0.
    max_steps : int
    target_loss : float, optional
        Stop at this mean logistic loss.
    record_every : int
        Steps between records of the history.
    callback : callable, optional
        Called with each record and the network (a live view: copy what you
        keep); training stops if it returns a true value.
    backend : "numpy", "cupy" or Backend
        Where the arrays of the training are; the result's are NumPy's.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError, TypeError
        If an argument is off, equal samples carry different labels, or the
        loss stops being finite (the step is too long).
    BackendError
        If this machine cannot give the backend.
    """
    step = check_positive(step, "step")

    def rule(log_loss: float, largest_square: float) -> float:
        return step * float(np.exp(log_loss))

    return _descend(net, x, y, rule, max_steps, target_loss, record_every, callback, backend)


def loss_scaled_descent(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    *,
    rate: float = 3.0,
    max_steps: int = 100_000,
    target_loss: float | None = None,
    record_every: int = 1000,
    callback: Callback | None = None,
    backend: str | Backend = "numpy",
) -> TrainResult:
    """Train by gradient ascent on −log(mean logistic loss), step rate / max_i ‖∇θΦ(x_i)‖².

    Parameters
    ----------
    net, x, y
        As in :func:`gradient_descent`.
    rate : float
        Step in units of 1 / max_i ‖∇θΦ(x_i)‖²; 3 is safe, up to 10 is faster.
    max_steps, target_loss, record_every, callback, backend
        As in :func:`gradient_descent`.

    Returns
    -------
    TrainResult

    Raises
    ------
    ValueError, TypeError, BackendError
        As in :func:`gradient_descent`.
    """
    check_net(net)
    rate, tiny = check_positive(rate, "rate"), float(np.finfo(net.dtype).tiny)

    def rule(log_loss: float, largest_square: float) -> float:
        return rate / max(largest_square, rate * tiny)

    return _descend(net, x, y, rule, max_steps, target_loss, record_every, callback, backend)


@np.errstate(over="ignore", invalid="ignore")  # a step too long is refused in words
def _descend(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    rule: Callable[[float, float], float],
    max_steps: int,
    target_loss: float | None,
    record_every: int,
    callback: Callback | None,
    backend: str | Backend,
) -> TrainResult:
    backend = get_backend(backend)
    x, y = check_samples(net, x, y)
    check_separable(x, y)
    max_steps = check_count(max_steps, "max_steps", 0)
    record_every = check_count(record_every, "record_every")
    target = -np.inf if target_loss is None else np.log(check_positive(target_loss, "target_loss"))

    net = backend.put_net(net.with_arrays([p.copy() for p in net.arrays]))
    x, y = backend.put(x), backend.put(y)
    xp = closed_form.namespace(x)
    input_squares = xp.vecdot(x, x)
    history = History()
    for steps in range(max_steps + 1):
        trace = closed_form.forward(net, x)
        back = closed_form.signals(net, trace)
        margins = y * trace.outputs  # (n,)
        log_loss = log_mean_loss(margins)
        if not np.isfinite(log_loss):
            raise ValueError(
                f"step: the loss is not finite after {steps} steps; use a smaller step or rate"
            )
        weights = loss_weights(margins)
        ascent = closed_form.gradient_sum(net, trace, back.times(weights * y))

        reached, last = log_loss <= target, steps == max_steps
        if steps % record_every == 0 or reached or last:
            here = backend.get_net(net)
            record, multipliers = _record(
                here,
                steps,
                backend.to_host(margins),
                log_loss,
                backend.to_host(weights),
                [backend.to_host(g) for pair in ascent for g in pair if g is not None],
            )
            history.records.append(record)
            halted = bool(callback and callback(record, here))
            if reached or last or halted:
                break

        squares = [input_squares, *(xp.vecdot(a, a) for a in trace.inputs[1:])]
        gradient_squares = sum(
            xp.vecdot(delta, delta) * (square + (0.0 if b is None else 1.0))
            for delta, square, b in zip(back.deltas, squares, net.biases, strict=True)
        )  # (n,): ‖∇θΦ(x_i)‖²
        length = rule(log_loss, float(xp.max(gradient_squares)))
        for layer, sums in zip(net.layers, ascent, strict=True):
            for p, g in zip(layer, sums, strict=True):
                if p is not None:
                    p += length * g

    if reached:
        reason = f"reached the target loss {target_loss:g}"
    elif halted:
        reason = "stopped by the callback"
    else:
        reason = f"did all {max_steps} steps"
    trained = backend.get_net(net)
    return TrainResult(trained, multipliers, history, steps, reason, bool(reached))


def _record(
    net: MLP,
    steps: int,
    margins: np.ndarray,
    log_loss: float,
    weights: np.ndarray,
    ascent: list[np.ndarray],
) -> tuple[Record, np.ndarray]:
    theta = net.theta
    direction = np.concatenate([g.ravel() for g in ascent])
    square = float(direction @ direction)
    scale = max(float(theta @ direction), 0.0) / square if square > 0 else 0.0
    norm = float(np.linalg.norm(theta))
    residual = float(np.linalg.norm(theta - scale * direction)) / norm if norm > 0 else 0.0
    record = Record(steps, log_loss, float(margins.min()), float(margins.max()), norm, residual)
    return record, scale * weights
