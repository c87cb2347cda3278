"""The known mistakes in the four conditions and in ε and δ, each with the answer that it gives.

Names of dimensions: n samples, K outputs, k constraints.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.fast import fast_answer, of_biases
from kkt_ref.conformance.questions import Answer, constraints, names_of

Mistakes = Iterator[tuple[str, Any]]  # what is done wrong, and the answer that it gives


def wrong_conditions(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    """Yield mistakes in the four conditions.

    Yields
    ------
    what is done wrong, and the answer
    """
    net, y, margin = inputs["net"], inputs["y"], inputs["margin"]
    stationarity, primal, dual, slackness = right
    u, lam = constraints(net, inputs["x"], y, inputs["multipliers"])  # (k,)
    gap, mass = u - margin, np.sum(np.abs(lam)) * margin
    short, negative = np.maximum(-gap, 0), np.maximum(-lam, 0)
    slack, signed = np.abs(lam * gap), np.sum(lam * gap) / (mass or 1.0)
    signed_mass = np.sum(lam) * margin or 1.0
    other = fast_answer(name, inputs, margin=1.0)
    whole, weights = np.linalg.norm(net.theta), np.linalg.norm(net.theta[~of_biases(net)])
    wrong: list[tuple[int, str, Any]] = [
        (0, "stationarity is not divided by ‖θ‖", stationarity * np.linalg.norm(net.theta)),
        (0, "stationarity is squared", stationarity**2),
        *(
            (0, f"stationarity is relative to ‖{part}‖", stationarity * whole / np.linalg.norm(p))
            for part, p in zip(names_of(net), net.arrays, strict=True)
        ),
        (
            0,
            "stationarity is relative to the weights without biases",
            stationarity * whole / weights,
        ),
        (1, "primal feasibility is not divided by q", primal * margin),
        (1, "primal feasibility is divided by q twice", primal / margin),
        (1, "primal feasibility is not clipped at 0", np.max(-gap) / margin),
        (1, "primal feasibility is a mean", short.mean() / margin),
        (1, "primal feasibility is that of the mean margin", max(0.0, np.mean(-gap) / margin)),
        (1, "primal feasibility is a sum", short.sum() / margin),
        (2, "dual feasibility is not clipped at 0", np.max(-lam)),
        (2, "dual feasibility is a mean", negative.mean()),
        (2, "dual feasibility is a sum", negative.sum()),
        (2, "dual feasibility has the opposite sign", -dual),
        (2, "dual feasibility looks at the largest λ", np.max(lam)),
        (3, "slackness is not divided by Σ λ q", slackness * mass),
        (3, "slackness is not divided by q", slackness * margin),
        (3, "slackness is divided by q twice", slackness / margin),
        (3, "slackness is a mean", slack.mean()),
        (3, "slackness is divided by the largest λ", slack.sum() / (np.abs(lam).max() or 1.0)),
        (
            3,
            "slackness is divided by q and the largest λ",
            slack.max() / (margin * np.abs(lam).max() or 1.0),
        ),
        (3, "slackness is a maximum", slack.max()),
        (3, "slackness lacks the absolute value", abs(signed)),
        (3, "slackness keeps its sign", signed),
        (3, "slackness is divided by Σ λ q without absolute values", slack.sum() / signed_mass),
        *((place, "q is taken as 1", other[place]) for place in (1, 2, 3)),
    ]
    for place, mistake, number in wrong:
        yield mistake, (*right[:place], number, *right[place + 1 :])
    short_of_1 = np.maximum(1.0 - u, 0).max() / margin
    slack_of_1 = np.sum(np.abs(lam * (u - 1.0))) / (mass or 1.0)
    yield "q is taken as 1", (stationarity, short_of_1, dual, slack_of_1)
    yield "q is taken as 1", other
    if net.K == 1:
        other = fast_answer(name, inputs, y=np.ones_like(y))
        yield "the margins lack y", (stationarity, other[1], dual, other[3])
    else:
        best = u.reshape(len(y), -1).argmin(axis=1)[:, None]
        u, lam = (np.take_along_axis(v.reshape(len(y), -1), best, axis=1) for v in (u, lam))
        slack = np.sum(np.abs(lam * (u - margin))) / (np.sum(np.abs(lam)) * margin or 1.0)
        for place in (dual, np.max(-lam, initial=0.0)):
            yield "only the strongest wrong class counts", (stationarity, primal, place, slack)


def wrong_points(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    """Yield mistakes in ε and δ.

    Yields
    ------
    what is done wrong, and the answer
    """
    net, q, (epsilon, delta) = inputs["net"], inputs["margin"], right
    u, lam = constraints(net, inputs["x"], inputs["y"], inputs["multipliers"])  # (k,)
    L, gap = net.depth, u / q - 1
    scaled = lam * q ** ((L - 2) / L)
    powers = (("(L-1)/L", 1 - 1 / L), ("(2-L)/L", 2 / L - 1), ("L-2", L - 2), ("1/L", 1 / L))
    powers += (("2/L", 2 / L), ("1", 1))
    for depth, words in ((L - 1, "the number of hidden layers"), (L + 1, "too large by 1")):
        sizes = (
            epsilon * q ** (1 / L - 1 / max(depth, 1)),
            np.max(lam * gap * q ** (1 - 2 / max(depth, 1))),
        )
        yield f"L is {words}", sizes
    for mistake, number in (
        ("ε is not divided by q^{1/L}", epsilon * q ** (1 / L)),
        ("ε is divided by q", epsilon * q ** (1 / L - 1)),
        ("ε is relative to ‖θ‖", epsilon * q ** (1 / L) / np.linalg.norm(net.theta)),
        ("ε is squared", epsilon**2),
    ):
        yield mistake, (number, delta)
    for mistake, number in (
        ("λ is not scaled in δ", np.max(lam * gap)),
        ("λ is divided by q^{1/L} in δ", np.max(lam * gap) * q ** (-1 / L)),
        ("δ is not relative to q", np.max(scaled * (u - q))),
        *(
            (f"λ is scaled by q^({words}) in δ", np.max(lam * gap) * q**power)
            for words, power in powers
        ),
        ("q is taken as 1 in δ", np.max(scaled * (u - 1))),
        ("δ takes absolute values", np.max(np.abs(scaled * gap))),
        ("δ is clipped at 0", max(delta, 0.0)),
        ("δ is a sum", np.sum(scaled * gap)),
        ("δ is a mean", np.mean(scaled * gap)),
    ):
        yield mistake, (epsilon, number)
    other = fast_answer(name, inputs, y=np.ones_like(u))
    yield "the margins lack y", (epsilon, other[1])
    yield "q is taken as 1", fast_answer(name, inputs, margin=1.0)
