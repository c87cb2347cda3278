"""The result of a check, and the error that shows those of many."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np


class Cause(NamedTuple):
    """A cause that gives the very answer, or what else is seen of a wrong answer."""

    description: str
    source: str  # "mistake", "precision" or "state"; "seen" if it is no cause

    @property
    def doubtful(self) -> bool:
        """Whether another cause may give the same answer."""
        return self.source in ("mistake", "precision")

    def __str__(self) -> str:
        return f"matches if {self.description}" if self.doubtful else self.description


class Result(NamedTuple):
    """The result of one check."""

    name: str  # "question: case"
    status: str  # passed, failed, unanswered, skipped, expected failure or unexpected pass
    error: float  # largest relative error over the arrays; NaN if there is none to measure
    tolerance: float
    dtype: str
    seed: int  # which drew the inputs
    meaning: str  # what the check tests
    diagnosis: str = ""  # the cause, or what else is seen of the failure
    repeat: str = ""  # three lines of Python that repeat it
    causes: tuple[Cause, ...] = ()  # all that give this very answer, and what else is seen
    wrong: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # the wrong arrays, in all words

    @property
    def bad(self) -> bool:
        """Whether this result speaks against the implementation."""
        return self.status in ("failed", "unanswered", "unexpected pass")

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
        count = f"{sum(result.bad for result in results)} of {len(results)} checks failed"
        bad = [result for result in results if result.bad]
        super().__init__("\n".join([count, *summary(bad), *reports(bad)]))


def _kind(result: Result) -> tuple[str, ...]:
    """Return what results have in common of which one is enough to read."""
    question, _, case = result.name.partition(":")
    if result.status in ("skipped", "unanswered") or (result.bad and np.isnan(result.error)):
        return result.status, question, re.sub(r"\d+", "", result.diagnosis)
    return result.status, question, case


def reports(results: Sequence[Result]) -> list[str]:
    """Return what is to be read of results; a kind of crash or of silence is told once."""
    counts = Counter(map(_kind, results))
    lines = []
    for result in results:
        count = counts.pop(_kind(result), 0)
        if not count or result.status == "passed":
            continue
        if result.status in ("skipped", "unanswered"):
            checks = f"{count} check{'s' * (count > 1)}"
            lines.append(f"{result.status:8} {_kind(result)[1]}: {result.diagnosis} ({checks})")
        else:
            lines.append(result.report() if result.bad else str(result))
            lines += [f"         {count - 1} more of these"] if count > 1 else []
    return lines


def summary(results: Sequence[Result]) -> list[str]:
    """Return one line for each diagnosis, the causes first, with the checks that have it."""
    groups: defaultdict[tuple[bool, str], Counter[str]] = defaultdict(Counter)
    spelled: dict[str, str] = {}  # the first of the diagnoses that differ in numbers only
    for result in results:
        if result.bad:
            seen = all(cause.source == "seen" for cause in result.causes)
            kind = _kind(result)[2] if np.isnan(result.error) else result.diagnosis
            groups[seen, spelled.setdefault(kind, result.diagnosis)][result.name.split(":")[0]] += 1
    lines = []
    for (seen, diagnosis), names in sorted(groups.items(), key=lambda g: (g[0][0], -g[1].total())):
        counts = ", ".join(f"{count} of {name}" for name, count in names.items())
        lines.append(f"{'seen' if seen else 'the cause'}: {diagnosis}: {counts}")
    return lines
