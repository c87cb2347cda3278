"""Conditions for CI, such as ``verdict == shown``, under which the exit status is 1."""

import argparse
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from kkt_ref.attacks.membership import MOST
from kkt_ref.audit.verdict import MEANING

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


class Figure(NamedTuple):
    """A figure that a condition can be about, as ``report.as_numbers`` has it."""

    section: str
    name: str
    needs: int = 2  # held-out samples; 0: training data suffice
    most: float = 1.0


FIGURES = {
    "verdict": Figure("verdict", "degree"),
    "p": Figure("verdict", "p"),
    "ncc08": Figure("data", "samples with NCC >= 0.8", 0, MOST),
    "ncc09": Figure("data", "samples with NCC >= 0.9", 0, MOST),
    "auc": Figure("membership", "AUC"),
    "auc_low": Figure("membership", "AUC, 95% interval"),
    "tpr001": Figure("membership", "TPR at FPR 1%", 100),
    "tpr0001": Figure("membership", "TPR at FPR 0.1%", 1000),
}


def known_figures(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the figures among the numbers of a report; None where they are not known."""
    found = {name: numbers.get(f.section, {}).get(f.name) for name, f in FIGURES.items()}
    return {name: value[0] if isinstance(value, list) else value for name, value in found.items()}


class Condition(NamedTuple):
    """A condition such as ncc08>0."""

    text: str
    figure: str
    compare: Callable[[Any, Any], bool]
    value: float | str  # the beginning of a degree, if the figure is the verdict

    def check(self, data: bool, held_out: int, d: int) -> None:
        """Raise, before any work, if the figure will not be known."""
        needed = FIGURES[self.figure].needs
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
    elif figure in FIGURES and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", value):
        number, most, compare = float(value), FIGURES[figure].most, OPERATORS[sign]
        if len({compare(at, number) for at in (0.0, most, min(max(number, 0.0), most))}) > 1:
            return Condition(text, figure, compare, number)
    raise argparse.ArgumentTypeError(
        "expected a condition that can hold or not, such as 'ncc08>0' or 'verdict == shown', on "
        f"one of {', '.join(FIGURES)} (ncc08 and ncc09 are counts, other numbers lie between 0 and "
        f"1), with one of the verdicts {', '.join(map(repr, MEANING))}; got {text!r}"
    )
