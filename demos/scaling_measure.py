"""Time a training and one start of the image attack at one size, and count their operations."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import scaling_counts as counts
from image_run import RATE, TARGET

import kkt_ref
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.restarts import run_alternations

GROUP, REPEATS = 50, 3


class Point(NamedTuple):
    """What was measured at one size."""

    seconds: dict[str, float]  # of a step and of a start
    operations: dict[str, float]  # floating-point operations of both, by count
    steps: int  # of the training
    trained: bool  # whether it reached a loss of 4e-6
    attack: dict[str, int]  # k coordinates, m candidates, how many are used, and evaluations
    preparation: float  # seconds of the attack before its first start

    @property
    def summary(self) -> str:
        """One line of all this."""
        step, start = self.seconds.values()
        attack = "k = {k}, m = {m}, {used} used, {evaluations} evaluations".format(**self.attack)
        return (
            f"step {1e3 * step:.3g} ms ({self.steps} steps); "
            f"start {start:.3g} s + {self.preparation:.2g} s once ({attack})"
        )


def samples(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random vectors (n, d), whose direction j has a variance in proportion to 1/j, and labels."""
    x = np.random.default_rng(seed).normal(size=(n, d)) / np.sqrt(np.arange(1, d + 1))
    return (x / (4 * np.sqrt(np.mean(x**2)))).astype(np.float32), np.resize([-1.0, 1.0], n)


def network(width: int, d: int, seed: int) -> kkt_ref.MLP:
    """The paper's start of a network of three layers."""
    net = kkt_ref.init_paper((d, width, width, 1), np.random.default_rng(seed))
    return net.astype(np.float32)


def measure(n: int, width: int, d: int, seed: int) -> Point:
    """Train a network, attack it from one start, and keep the best times."""
    # 1. Train: the time between two records is that of the steps between them.
    times: list[tuple[float, int]] = []
    result = kkt_ref.loss_scaled_descent(
        network(width, d, seed),
        *samples(n, d, seed),
        rate=RATE,
        target_loss=TARGET,
        max_steps=3000 if n <= 200 and width <= 1000 else 3 * GROUP,
        record_every=GROUP,
        callback=lambda record, _: times.append((time.perf_counter(), record.step)),
    )
    groups = list(zip(times, times[1:], strict=False))
    whole = [group for group in groups if group[1][1] % GROUP == 0] or groups
    step = min((t - s) / (j - i) for (s, i), (t, j) in whole)
    # 2. Attack: the same start several times, with the default number of candidates.
    began = time.perf_counter()
    problem = FirstLayer(result.net)
    preparation, m = time.perf_counter() - began, problem.default_candidates
    spent = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        (run,) = run_alternations(problem, candidates=m, seed=seed, restarts=1, workers=1)
        spent.append(time.perf_counter() - began)
    seconds = {"step": step, "start": min(spent)}
    # 3. Count the operations of both.
    used, evaluations = int(np.sum(run.multipliers > 0)), run.evaluations
    attack = {"k": problem.k, "m": m, "used": used, "evaluations": evaluations}
    operations = {
        "step": counts.step_operations(n, width, d),
        "start": counts.start_operations(width, **attack),
    }
    return Point(seconds, operations, result.steps, result.converged, attack, preparation)
