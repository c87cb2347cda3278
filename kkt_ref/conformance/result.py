"""The result of a check, and the error that shows those of many."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Cause(NamedTuple):
    """A cause that gives the very answer, or what else is known of a wrong answer."""

    description: str
    source: str  # "mistake", "precision" or "state"; "known" if it is no cause

    @property
    def doubtful(self) -> bool:
        """Whether another cause may give the same answer."""
        return self.source in ("mistake", "precision")

    def __str__(self) -> str:
        return f"matches if {self.description}" if self.doubtful else self.description


class Result(NamedTuple):
    """The result of one check."""

    name: str  # "question: case"
    status: str  # passed, failed, skipped, expected failure or unexpected pass
    error: float  # largest relative error over the arrays; NaN if there is none to measure
    tolerance: float
    dtype: str
    seed: int  # which drew the inputs
    meaning: str  # what the check tests
    diagnosis: str = ""  # the cause, or what else is known of the failure
    repeat: str = ""  # three lines of Python that repeat it
    causes: tuple[Cause, ...] = ()  # all that give this very answer, and what else is known

    @property
    def bad(self) -> bool:
        """Whether this result speaks against the implementation."""
        return self.status in ("failed", "unexpected pass")

    def __str__(self) -> str:
        """Return the result as one line of text."""
        error = "" if np.isnan(self.error) else f"error {self.error:.1e}"
        details = "; ".join(part for part in (error, self.diagnosis) if part)
        return f"{self.status:8} {self.name}{details and ': '}{details}"

    def report(self) -> str:
        """Return that line, what the check tests, and the lines that repeat it."""
        lines = [f"this case tests: {self.meaning}", *self.repeat.splitlines()]
        return "\n".join([str(self), *(f"         {line}" for line in lines)])


class ConformanceError(AssertionError):
    """An implementation failed checks.  ``results`` holds the results of all checks."""

    def __init__(self, results: list[Result]) -> None:
        self.results = results
        bad = [result.report() for result in results if result.bad]
        count = f"{len(bad)} of {len(results)} checks failed"
        super().__init__("\n".join([count, *summary(results), *bad]))


def summary(results: Sequence[Result]) -> list[str]:
    """Return one line for each diagnosis, the causes first, with the checks that have it."""
    groups: defaultdict[tuple[bool, str], Counter[str]] = defaultdict(Counter)
    for result in results:
        if result.bad:
            known = all(cause.source == "known" for cause in result.causes)
            groups[known, result.diagnosis][result.name.split(":")[0]] += 1
    lines = []
    for (known, diagnosis), names in sorted(groups.items(), key=lambda g: (g[0][0], -g[1].total())):
        counts = ", ".join(f"{count} of {name}" for name, count in names.items())
        lines.append(f"{'known' if known else 'the cause'}: {diagnosis}: {counts}")
    return lines
