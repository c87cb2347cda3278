"""The known mistakes in the four conditions and in ε and δ, each with the answer that it gives.

Names of dimensions: n samples, K outputs, k constraints.
"""

from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.fast import fast_answer
from kkt_ref.conformance.questions import Answer, constraints

Mistakes = list[tuple[str, Any]]  # what is done wrong, and the answer that it gives


def _in_place(right: Answer, *tables: dict[str, Any]) -> Mistakes:
    """Return the answers with one wrong number; there is a table for each number."""
    return [
        (mistake, (*right[:place], number, *right[place + 1 :]))
        for place, table in enumerate(tables)
        for mistake, number in table.items()
    ]


def wrong_conditions(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    """Return mistakes in the four conditions."""
    net, y, q = inputs["net"], inputs["y"], inputs["margin"]
    stationarity, primal, dual, slackness = right
    u, lam = constraints(net, inputs["x"], y, inputs["multipliers"])  # (k,)
    gap, mass = u - q, np.sum(np.abs(lam)) * q or 1.0
    short, negative, slack = np.maximum(-gap, 0), np.maximum(-lam, 0), np.abs(lam * gap)
    other = fast_answer(name, inputs, margin=1.0)
    wrong = _in_place(
        right,
        {
            "stationarity is not divided by ‖θ‖": stationarity * np.linalg.norm(net.theta),
            "stationarity is squared": stationarity**2,
        },
        {
            "primal feasibility is not divided by q": primal * q,
            "primal feasibility is divided by q twice": primal / q,
            "primal feasibility is not clipped at 0": np.max(-gap) / q,
            "primal feasibility is a mean": short.mean() / q,
            "primal feasibility is a sum": short.sum() / q,
            "q is taken as 1": other[1],
        },
        {
            "dual feasibility is not clipped at 0": np.max(-lam),
            "dual feasibility is a mean": negative.mean(),
            "dual feasibility is a sum": negative.sum(),
            "dual feasibility has the opposite sign": -dual,
            "dual feasibility looks at the largest λ": np.max(lam),
        },
        {
            "slackness is not divided by Σ λ q": slack.sum(),
            "slackness is not divided by q": slackness * q,
            "slackness is divided by q twice": slackness / q,
            "slackness is a mean": slack.mean(),
            "slackness is a maximum": slack.max(),
            "slackness is divided by the largest λ": slack.sum() / (np.abs(lam).max() or 1.0),
            "slackness lacks the absolute value": abs(np.sum(lam * gap)) / mass,
            "slackness keeps its sign": np.sum(lam * gap) / mass,
            "slackness is divided by Σ λ q without absolute values": slack.sum()
            / (np.sum(lam) * q or 1.0),
            "q is taken as 1": other[3],
        },
    )
    slack_of_1 = np.sum(np.abs(lam * (u - 1.0))) / mass
    short_of_1 = max(1.0 - u.min(), 0.0) / q
    wrong += [("q is taken as 1", other)]
    wrong += [("q is taken as 1", (stationarity, short_of_1, dual, slack_of_1))]
    if net.K == 1:
        other = fast_answer(name, inputs, y=np.ones_like(y))
        return [*wrong, ("the margins lack y", (stationarity, other[1], dual, other[3]))]
    best = u.reshape(len(y), -1).argmin(axis=1)[:, None]
    u, lam = (np.take_along_axis(v.reshape(len(y), -1), best, axis=1) for v in (u, lam))
    slackness = np.sum(np.abs(lam * (u - q))) / (np.sum(np.abs(lam)) * q or 1.0)
    for worst in (dual, np.max(-lam, initial=0.0)):
        answer = stationarity, primal, worst, slackness
        wrong.append(("only the strongest wrong class counts", answer))
    return wrong


def wrong_points(name: str, inputs: Inputs, right: Answer) -> Mistakes:
    """Return mistakes in ε and δ."""
    net, q, (epsilon, delta) = inputs["net"], inputs["margin"], right
    u, lam = constraints(net, inputs["x"], inputs["y"], inputs["multipliers"])  # (k,)
    L, gap, residual = net.depth, u / q - 1, epsilon * q ** (1 / net.depth)
    powers = {"(L-1)/L": 1 - 1 / L, "(2-L)/L": 2 / L - 1, "L-2": L - 2, "-1/L": -1 / L, "1": 1}
    scaled = lam * q ** ((L - 2) / L)
    wrong = _in_place(
        right,
        {
            "ε is not divided by q^{1/L}": residual,
            "ε is divided by q": residual / q,
            "ε is relative to ‖θ‖": residual / np.linalg.norm(net.theta),
            "ε is squared": epsilon**2,
        },
        {
            "λ is not scaled in δ": np.max(lam * gap),
            **{f"λ is scaled by q^({p}) in δ": np.max(lam * gap) * q**c for p, c in powers.items()},
            "δ is not relative to q": delta * q,
            "q is taken as 1 in δ": np.max(scaled * (u - 1)),
            "δ takes absolute values": np.max(np.abs(scaled * gap)),
            "δ is clipped at 0": max(delta, 0.0),
            "δ is a sum": np.sum(scaled * gap),
            "δ is a mean": np.mean(scaled * gap),
            "the margins lack y": fast_answer(name, inputs, y=np.ones_like(u))[1],
        },
    )
    hidden = max(L - 1, 1)
    sizes = residual / q ** (1 / hidden), np.max(lam * gap * q ** (1 - 2 / hidden))
    return [
        *wrong,
        ("L is the number of hidden layers", sizes),
        ("q is taken as 1", fast_answer(name, inputs, margin=1.0)),
    ]
