"""Conditions for CI, such as ``verdict == shown``, under which the exit status is 1."""

import argparse
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.audit.measure import Audit
from kkt_ref.audit.verdict import MEANING, Verdict, overall

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
# figures, and how many held-out samples they need; 0: training data suffice
NEEDS = {
    "verdict": 2, "p": 2, "ncc08": 0, "ncc09": 0, "auc": 2, "auc_low": 2, "tpr001": 100,
    "tpr0001": 1000,
}  # fmt: skip
COUNTS = ("ncc08", "ncc09")  # all other numbers lie between 0 and 1


class Condition(NamedTuple):
    """A condition such as ncc08>0."""

    text: str
    figure: str
    compare: Callable[[Any, Any], bool]
    value: float | str  # the beginning of a degree, if the figure is the verdict

    def check(self, data: bool, held_out: int, d: int) -> None:
        """Raise, before any work, if the figure will not be known."""
        needed = NEEDS[self.figure]
        if not data or held_out < needed or (d == 2 and not needed):
            what = f"{needed} samples in --held-out" if needed else "--data of more than 2 inputs"
            raise ValueError(f"--fail-if {self.text}: expected at least {what}, got {held_out}")

    def holds(self, figures: dict[str, Any]) -> bool:
        """Return whether the condition holds, for a figure that is known."""
        figure = figures[self.figure]
        if isinstance(self.value, str):
            return self.compare(figure.startswith(self.value), True)
        return figure is not None and self.compare(figure, self.value)


def parse_condition(text: str) -> Condition:
    """Read a condition: a figure, an operator and a number, or a degree of the verdict."""
    match = re.fullmatch(r"\s*(\w+)\s*([=!<>]=|[<>])\s*['\"]?(.+?)['\"]?\s*", text)
    figure, sign, value = match.groups() if match else ("", "", "")
    if figure == "verdict" and sign in ("==", "!="):
        if any(degree.startswith(value) for degree in MEANING):
            return Condition(text, figure, OPERATORS[sign], value)
        raise argparse.ArgumentTypeError(
            f"expected one of the verdicts {', '.join(map(repr, MEANING))}, got {text!r}"
        )
    try:
        number = float(value)
        good = figure in NEEDS and figure != "verdict" and np.isfinite(number)
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(
            "expected a condition such as 'ncc08>0' or 'verdict == shown' on one of "
            f"{', '.join(NEEDS)}, got {text!r}"
        )
    least, most = 0.0, np.inf if figure in COUNTS else 1.0
    tried = {OPERATORS[sign](at, number) for at in (least, most, min(max(number, least), most))}
    if len(tried) == 1:
        raise argparse.ArgumentTypeError(
            f"expected a condition that can hold or not: {figure} is between 0 and "
            f"{'the number of samples' if figure in COUNTS else 1}, got {text!r}"
        )
    return Condition(text, figure, OPERATORS[sign], number)


def known_figures(audit: Audit, verdicts: dict[str, Verdict]) -> dict[str, Any]:
    """Return the figures that --fail-if knows; None where they are not known."""
    known = [verdict.p for verdict in verdicts.values() if verdict.p is not None]
    values: dict[str, Any] = dict.fromkeys(NEEDS)
    values |= {"verdict": overall(verdicts), "p": min(known, default=None)}
    if audit.data is not None and audit.net.d > 2 and audit.settings:
        score = audit.data.matches.score
        values |= {"ncc08": int(np.sum(score >= 0.8)), "ncc09": int(np.sum(score >= 0.9))}
    if audit.held_out is not None:
        roc = audit.held_out.membership.roc
        values |= {"auc": roc.auc, "auc_low": roc.auc_interval[0]}
        values |= {"tpr001": roc.tpr001, "tpr0001": roc.tpr0001}
    return values
