"""The paper's recipes against ours, for the benchmark: training, and the way to a residual."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from image_run import RATE, TARGET

import kkt_ref
from kkt_ref.attacks import published_loss
from kkt_ref.datasets.images import embedded_images
from kkt_ref.datasets.split import Split, binary_split
from kkt_ref.network import AuthorsGatedReLU
from kkt_ref.stationarity.closed_form import stationarity_and_gradient

ALPHA = 20.0  # sharpness of the gates, in the middle of the paper's good settings
PAPER_STEPS = 1_000_000  # of step 0.01, after which the released networks stood at 4e-6
Array = np.ndarray


class Recipe(NamedTuple):
    """How long a way of doing something took."""

    name: str
    steps: int
    seconds: float


def mnist(n: int) -> tuple[Split, kkt_ref.MLP]:
    """The embedded MNIST digits and the paper's network for them, untrained, float32."""
    split = binary_split(embedded_images("mnist"), n)
    net = kkt_ref.init_paper((784, 1000, 1000, 1), np.random.default_rng(0))
    return split, net.astype(np.float32)


def training(split: Split, net: kkt_ref.MLP) -> tuple[list[Recipe], kkt_ref.MLP]:
    """Loss 4e-6 by loss-scaled descent, and by the paper's from its measured time of a step."""
    x, y = split.x.astype(np.float32), split.y.astype(np.float32)
    began = time.perf_counter()
    ours = kkt_ref.loss_scaled_descent(net, x, y, rate=RATE, target_loss=TARGET)
    seconds = time.perf_counter() - began
    few = 20
    began = time.perf_counter()
    kkt_ref.gradient_descent(net.astype(float), split.x, split.y, step=0.01, max_steps=few)
    one = (time.perf_counter() - began) / (few + 1)
    recipes = [
        Recipe("loss-scaled descent, float32", ours.steps, seconds),
        Recipe("paper's descent, float64, extrapolated", PAPER_STEPS, PAPER_STEPS * one),
    ]
    return recipes, ours.net


def sgd(
    net: kkt_ref.MLP, m: int, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[int, float, Array]:
    """The paper's SGD on its published loss: steps done, layer 1's residual, and the candidates.

    Two optimisers with momentum 0.9, step 0.3 on x and 1e-4 on l, with the authors' gates;
    settings from the middle of the authors' good ones.
    """
    rng = np.random.default_rng(0)
    lambda_min, rates = 0.45, (0.3, 1e-4)
    net = net.with_activation(AuthorsGatedReLU(ALPHA))
    x, l_, y = 0.01 * rng.normal(size=(m, net.d)), rng.uniform(size=m), np.resize([-1.0, 1.0], m)
    velocities = [np.zeros_like(x), np.zeros_like(l_)]
    began, steps = clock(), 0
    while clock() - began < seconds:
        loss = published_loss(net, x, y, l_, lambda_min=lambda_min)
        slopes = (loss.grad_x, loss.grad_multipliers)
        for variable, velocity, slope, rate in zip((x, l_), velocities, slopes, rates, strict=True):
            velocity *= 0.9
            velocity += slope
            variable -= rate * velocity
        steps += 1
    return steps, float(np.sqrt(loss.by_layer[0]) / np.linalg.norm(layer_1(net))), x


def layer_1(net: kkt_ref.MLP) -> Array:
    """The first layer as one vector."""
    return net.theta[net.layer_slices[0]]


def ways_to_a_residual(net: kkt_ref.MLP, n: int, seconds: float) -> tuple[float, list[Recipe]]:
    """What the paper's SGD reaches in that time, and how long our L-BFGS takes on the same loss."""
    m, double = 2 * n, net.astype(np.float64)
    steps, residual, _ = sgd(double, m, seconds)
    gated, y = double.with_activation(kkt_ref.GatedReLU(ALPHA)), np.resize([-1.0, 1.0], m)
    end = residual * np.linalg.norm(layer_1(double))

    class Reached(Exception):
        pass

    began, iterations, name = time.perf_counter(), 0, "L-BFGS, ended before it got there"

    def watch(stage: str, run: int, x: Array, multipliers: Array) -> None:
        nonlocal iterations
        iterations += 1
        if iterations % 5 == 0:
            terms = stationarity_and_gradient(gated, x, y, multipliers, (1.0, 0.0, 0.0))
            if np.sqrt(terms.by_layer[0]) <= end:
                raise Reached

    try:
        kkt_ref.attacks.reconstruct_paper(
            double, m, seed=0, labels=y, alpha=ALPHA, max_iterations=2000, callback=watch
        )
    except Reached:
        name = "L-BFGS"
    recipes = [Recipe("paper's SGD", steps, seconds)]
    return residual, [*recipes, Recipe(name, iterations, time.perf_counter() - began)]


def peak_memory(widths: tuple[int, ...], m: int) -> float:
    """Megabytes that a value and gradient takes at its peak, beyond weights and arguments."""
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform(widths, rng)
    x, y, lam = rng.normal(size=(m, net.d)), np.resize([-1.0, 1.0], m), rng.uniform(size=m)
    tracemalloc.start()
    stationarity_and_gradient(net, x, y, lam, (1.0,) * net.depth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6
