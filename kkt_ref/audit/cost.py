"""How long the attack of an audit will take, measured by the first steps of one start."""

import time

import numpy as np

from kkt_ref._parallel import one_thread
from kkt_ref.attacks.alternating import alternate
from kkt_ref.attacks.first_layer import FirstLayer

STEPS = 2  # that are timed
EVALUATIONS = 48, 52  # of a whole start, with one output and with several: measured means


@one_thread()
def start_seconds(problem: FirstLayer, candidates: int, seed: int) -> float:
    """Estimate the seconds of one start of the attack."""
    a = np.random.default_rng(seed).normal(size=(candidates, problem.k))
    alternate(problem, a[:2], steps=1)  # the first call loads libraries
    began = time.perf_counter()
    run = alternate(problem, a, steps=STEPS)
    return (time.perf_counter() - began) / run.evaluations * EVALUATIONS[problem.net.K > 1]


def in_words(seconds: float) -> str:
    """Return a time as a person would say it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
