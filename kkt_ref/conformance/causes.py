"""What a wrong answer means: the known wrong conventions, tried one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from kkt_ref.conformance.conventions import wrong_answers
from kkt_ref.conformance.questions import (
    Answer,
    Question,
    in_float64,
    kkt_conditions,
    training_step,
)
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity

_SCIKIT_IMAGE = replace(WANG, window="uniform", size=7, sample_covariance=True)
ErrorOf = Callable[[Question, Any, Answer, Answer], float]


def diagnose(
    question: Question,
    case: Any,
    answer: Answer,
    right: Answer,
    error: float,
    tolerance: float,
    error_of: ErrorOf,
) -> str:
    """Return which wrong convention gives this answer, or "" if none known does."""
    near = max(100 * tolerance, 1e-7)
    for text, wrong in _wrong_answers(question, case):
        if any(not np.all(np.isfinite(part)) for part in wrong):
            continue
        if error_of(question, case, wrong, right) <= tolerance:
            continue  # this case does not tell it from the right one
        if error_of(question, case, answer, wrong) <= near:
            return f"matches if {text}"
    if tolerance < 1e-8 and error < 1e-4:
        return "right to single precision only: something is computed in float32"
    parts = zip(question.parts, answer, right, strict=True)
    wrong = [name for name, a, b in parts if np.linalg.norm(a - b) > near * np.linalg.norm(b)]
    if len(wrong) < len(question.parts):
        return f"wrong: {' and '.join(wrong)}; the rest is right"
    return ""


def _wrong_answers(question: Question, case: Any) -> Iterator[tuple[str, Answer]]:
    of_its_own = {
        "kkt_conditions": _wrong_conditions,
        "training_step": _wrong_steps,
        "ssim": _wrong_ssim,
    }
    if question.name not in of_its_own:
        return wrong_answers(question.name, case)
    arguments = map(in_float64, question.arguments(case))
    return of_its_own[question.name](*arguments)


def _wrong_conditions(
    net: Any, x: Any, y: Any, multipliers: Any, margin: float
) -> Iterator[tuple[str, Answer]]:
    right = tuple(map(np.asarray, kkt_conditions(net, x, y, multipliers, margin)))
    stationarity, primal, dual, slackness = right
    norm, mass = np.linalg.norm(net.theta), np.sum(np.abs(multipliers)) * margin
    yield "stationarity is not divided by ‖θ‖", (stationarity * norm, primal, dual, slackness)
    yield "stationarity is squared", (stationarity**2, primal, dual, slackness)
    yield "primal feasibility is not divided by q", (stationarity, primal * margin, dual, slackness)
    yield "slackness is not divided by Σ λ q", (stationarity, primal, dual, slackness * mass)
    at_one = kkt_conditions(net, x, y, multipliers, 1.0)
    yield "q is taken as 1", tuple(map(np.asarray, at_one))
    yield (
        "y has the opposite sign",
        tuple(map(np.asarray, kkt_conditions(net, x, -y, multipliers, margin))),
    )


def _wrong_steps(net: Any, x: Any, y: Any, step: float) -> Iterator[tuple[str, Answer]]:
    theta, moved = net.theta, training_step(net, x, y, step) - net.theta
    yield "the loss is summed, not averaged", (theta + len(y) * moved,)
    yield "the step goes up", (theta - moved,)
    yield "y has the opposite sign", (training_step(net, x, -y, step),)
    biases = np.concatenate([np.full(p.size, p.ndim == 1) for p in net.arrays])  # (P,)
    yield "the biases are not moved", (theta + np.where(biases, 0.0, moved),)
    first = np.arange(len(theta)) < net.layer_slices[0].stop
    yield "layer 1 is not moved", (theta + np.where(first, 0.0, moved),)
    yield "the gradient is returned, not θ", (-moved / step,)


def _wrong_ssim(a: Any, b: Any) -> Iterator[tuple[str, Answer]]:
    for text, settings in (
        ("the window is uniform, 7 by 7, as scikit-image's default is", _SCIKIT_IMAGE),
        ("the window is Gaussian, 3 by 3, as the paper's code has it", HAIM),
        ("the border is not left out", replace(WANG, border="reflect")),
        ("variances are those of samples, over N - 1", replace(WANG, sample_covariance=True)),
        ("σ of the window is 1", replace(WANG, sigma=1.0)),
    ):
        value = structural_similarity(a, b, data_range=1.0, channel_axis=0, settings=settings)
        yield text, (np.asarray(value),)
    for data_range in (2.0, 255.0):
        value = structural_similarity(a, b, data_range=data_range, channel_axis=0)
        yield f"data_range is {data_range:g}", (np.asarray(value),)
    first = structural_similarity(a[0], b[0], data_range=1.0)
    yield "only the first channel counts", (np.asarray(first),)
