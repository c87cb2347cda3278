"""What training and a start of the image attack need by count: operations and memory.

A floating-point operation is one multiplication or one addition.  Names of dimensions: n samples,
d inputs, h neurons in each of two hidden layers, k coordinates, m candidates.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np

import kkt_ref
from kkt_ref.attacks.alternating import alternate
from kkt_ref.attacks.first_layer import FirstLayer

STEPS, TURNINGS = 20, 5  # of a start; one that stops after fewer steps needs a little less


def step_operations(n: int, h: int, d: int) -> float:
    """The products of a step of training, in the span of the samples.

    Forward and gradient have a product with the inputs, which have min(n, d) coordinates there.
    Forward, backward and gradient have a product with the second layer.
    """
    return 2.0 * (2 * n * min(n, d) * h + 3 * n * h**2)


def start_operations(h: int, k: int, m: int, used: int, evaluations: int) -> float:
    """Products and solves of one start, in which so many candidates are used (have λ > 0).

    The number of trials of the damping follows from the number of evaluations of the residual:
    one is made at the start, one after each turning, and one in each trial.
    """
    signals = m * (k * h + 2 * h**2 + 2 * h * k)  # forward, backward, whitening on the left
    gram = m**2 * (h + k) + m * k * h  # and the right side
    factor = m**3 / 6  # Cholesky
    # NNLS adds one candidate after the other: a reflection of the rest, and a triangular solve
    nnls = m**3 - (m - used) ** 3 + used**3 / 6
    step = m**2 * h + 2 * m * k * h  # ΔΔᵀ, the residual R, and ΔR
    trial = m**3 / 3 + m**2 * k  # solve for k columns
    turning = m**2 * k + m * k * h + m**3 / 3 + m**2 * h  # solve for h columns
    trials = evaluations - 1 - TURNINGS
    once = evaluations * (signals + gram + factor + nnls)
    return 2.0 * (once + STEPS * step + trials * trial + TURNINGS * turning)


def peak(run: Callable[[], object]) -> int:
    """Bytes of the arrays that exist at the peak of this call, beyond those before it."""
    tracemalloc.start()
    run()
    bytes_at_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_at_peak


def training_bytes(net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray, far: int) -> float:
    """Memory of a training with ``far`` samples, by the line through n and n/2 samples."""

    def step(n: int) -> int:
        return peak(lambda: kkt_ref.loss_scaled_descent(net, x[:n], y[:n], max_steps=1))

    n = len(x)
    line = np.polyfit([n // 2, n], [step(n // 2), step(n)], 1)
    return float(np.polyval(line, far))


def start_bytes(net: kkt_ref.MLP, m: int) -> int:
    """Memory of a start with m candidates."""
    problem = FirstLayer(net)
    a = np.random.default_rng(0).normal(size=(m, problem.k))
    return peak(lambda: alternate(problem, a, steps=1))
