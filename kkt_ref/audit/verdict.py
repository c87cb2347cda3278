"""What an audit concludes: a verdict in three honest degrees, and conditions for CI."""

import argparse
import operator
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kkt_ref.audit.run import Audit
from kkt_ref.metrics.roc import roc

SHOWN, CHANCE, UNJUDGED = "shown", "not shown beyond chance", "cannot be judged"
# of each of the two tests, so that weights that hold nothing are 'shown' in 1% of all audits
LEVEL = 0.005
SAID = {
    SHOWN: "is shown",
    CHANCE: "is not shown beyond chance, which is no proof that they do not",
    UNJUDGED: "cannot be judged without training and held-out samples",
}


class Verdict(NamedTuple):
    """What was shown, and why."""

    degree: str  # SHOWN, CHANCE or UNJUDGED
    p: float | None  # of no difference between training and held-out samples
    text: str  # one sentence


def judge(p: float | None, found: str, missing: str, *, enough: bool = True) -> Verdict:
    """Judge one kind of evidence; without p, ``missing`` says what is needed.

    A difference that is not ``enough`` for anybody to see is not shown, whatever its p.
    """
    if p is None:
        return Verdict(UNJUDGED, None, f"{UNJUDGED} without {missing}. {found}".strip())
    degree = SHOWN if p < LEVEL and enough else CHANCE
    return Verdict(degree, p, f"{degree} (p = {p:.2g}). {found}")


def overall(verdicts: list[Verdict]) -> str:
    """Return the degree of all the evidence: one that is shown is enough."""
    degrees = [verdict.degree for verdict in verdicts]
    return next(degree for degree in (SHOWN, UNJUDGED, CHANCE) if degree in degrees)


def find_verdicts(audit: Audit) -> dict[str, Verdict]:
    """Judge reconstruction and membership, each by training samples against held-out ones."""
    missing = "training data" if audit.data is None else "held-out samples"
    assert audit.found is not None
    p, enough = None, False
    if audit.failure is not None:
        text = f"The attack found no candidate: {audit.failure.rstrip('.')}."
        p = None if audit.data is None or audit.held_out is None else 1.0
    elif audit.matches is None:
        m = len(audit.found.labels)
        text = f"The attack made {m} candidates, as it does for any network."
    else:
        n = len(audit.matches.score)
        name, hits = next(iter(audit.matches.numbers.items()))
        text = f"{hits} of {n} training samples have a candidate {name.removeprefix('samples ')}"
        if audit.chance is not None:
            text += f", and {audit.chance.numbers[name]} of {n} that the network never saw"
            enough = hits > audit.chance.numbers[name]
            sign = 1.0 if audit.weights.net.d > 2 else -1.0  # scores in the plane are distances
            if n > 1:
                p = roc(sign * audit.matches.score, sign * audit.chance.score).p_all
        text += "."
    verdicts = {"reconstruction": judge(p, text, missing, enough=enough)}
    if audit.members is None:
        verdicts["membership"] = judge(None, "", missing)
    else:
        result = audit.members.roc
        low, high = result.auc_interval
        text = f"AUC {result.auc:.3f} (95% interval {low:.3f} to {high:.3f})"
        if result.tpr001 is not None:
            text += (
                f"; {result.tpr001:.0%} of the training samples score higher than 99% of the "
                "held-out ones"
            )
        verdicts["membership"] = judge(result.p_all, f"{text}.", missing)
    return verdicts


OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt
}  # fmt: skip
# figures that --fail-if knows, and how many held-out samples they need; 0: training data suffice
NEEDS = {"ncc08": 0, "ncc09": 0, "auc": 2, "auc_low": 2, "tpr001": 100, "tpr0001": 1000}


class Condition(NamedTuple):
    """A condition such as ncc08>0, under which the exit status is 1."""

    text: str
    figure: str
    compare: Callable[[float, float], bool]
    value: float

    def check(self, data: bool, held_out: int, d: int) -> None:
        """Raise, before any work, if the figure will not be known."""
        needed = NEEDS[self.figure]
        if not data or held_out < needed or (d == 2 and not needed):
            what = f"{needed} samples in --held-out" if needed else "--data of more than 2 inputs"
            raise ValueError(f"--fail-if {self.text}: expected at least {what}, got {held_out}")


def parse_condition(text: str) -> Condition:
    """Read a condition: a figure, an operator and a number."""
    match = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*([0-9.eE+-]+)\s*", text)
    try:
        assert match is not None and match[1] in NEEDS
        return Condition(text, match[1], OPERATORS[match[2]], float(match[3]))
    except (AssertionError, ValueError):
        raise argparse.ArgumentTypeError(
            f"expected a condition such as 'ncc08>0' on one of {', '.join(NEEDS)}, got {text!r}"
        ) from None


def known_figures(audit: Audit) -> dict[str, float | None]:
    """The figures that --fail-if knows."""
    values: dict[str, float | None] = dict.fromkeys(NEEDS)
    if audit.data is not None and audit.weights.net.d > 2:
        score = np.zeros(1) if audit.matches is None else audit.matches.score
        values |= {"ncc08": int(np.sum(score >= 0.8)), "ncc09": int(np.sum(score >= 0.9))}
    if audit.members is not None:
        result = audit.members.roc
        values |= {"auc": result.auc, "auc_low": result.auc_interval[0]}
        values |= {"tpr001": result.tpr001, "tpr0001": result.tpr0001}
    return values
