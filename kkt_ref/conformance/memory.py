"""Is any state kept between calls?  The same question, with one argument changed at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.checks import Check, Result, UnusableAnswer, ask, usable
from kkt_ref.conformance.diagnose import Cause
from kkt_ref.conformance.questions import Answer
from kkt_ref.network.mlp import MLP

MEANING = "no state is kept between calls, and no answer shares memory with another"
MIXED = 1000  # times the tolerance: mixed arguments may be worse conditioned, state errs grossly
STALE = "an answer of an earlier call is returned again: a stale cache"
ADDED = "answers are added to those of earlier calls"
SHARED = "an earlier answer changed afterwards: it shares memory with a buffer or an argument"
TWICE = "the same question gets two answers: state is kept, or random numbers are used"


@dataclass(frozen=True)
class MemoryCheck(Check):
    """The first question, then others that differ from it in one argument, then it again.

    Each argument is replaced twice: by another array, and by other numbers in the same array.
    If the first answer is wrong, nothing can be said of memory.
    """

    other: Case  # of the same shapes as ``case``

    @property
    def _last_line(self) -> str:
        return "print(check.run(implementation))"

    def run(self, implementation: object) -> Result:
        """Ask the questions one after the other."""
        try:
            return self._ask_all(implementation)
        except NotImplementedError:
            return self.skipped("not implemented")

    def judge(self, answer: object) -> Result:
        """Skip: answers in a file say nothing of calls."""
        return self.skipped("answers in a file were not asked in a row")

    def _ask_all(self, implementation: object) -> Result:
        question, worst = self.question, 0.0
        first, other = list(self.arguments), question.arguments(self.other)
        answers: list[Answer] = []
        copies: list[Answer] = []
        rights: list[Answer] = []

        def answer_to(arguments: list[Any], right: Answer) -> float:
            found = ask(question, implementation, arguments)
            answers.append(usable(question, found, right, self.dtype))
            copies.append(tuple(map(np.array, answers[-1])))
            rights.append(right)
            return question.error(self.case, copies[-1], right)

        try:
            if not answer_to(first, self.right) <= self.tolerance:
                raise UnusableAnswer("the first answer is wrong")
        except UnusableAnswer:
            return self.skipped("memory is not judged, because the first answer is not right")
        rows: list[tuple[str, int | None, bool]] = [("nothing", None, False)]
        for place, name in enumerate(question.takes):
            rows += [(name, place, False), ("nothing", None, False)]
            if not isinstance(first[place], float):
                rows += [(f"the numbers in {name}", place, True), ("nothing", None, False)]
        for changed, place, in_place in rows:
            arguments, right = list(first), self.right
            if place is not None:
                arguments[place] = other[place]
                right = question.reference(*arguments)
            if in_place and place is not None:
                kept = [p.copy() for p in _arrays(first[place])]
                _fill(first[place], _arrays(other[place]))
                arguments[place] = first[place]
            try:
                worst = max(worst, error := answer_to(arguments, right))
            except UnusableAnswer as unusable:
                return self.failed(float("nan"), unusable.cause)
            if in_place and place is not None:
                _fill(first[place], kept)
            if not all(map(_equal, answers, copies)):
                return self.failed(float("nan"), Cause(SHARED, "state"))
            if not error <= MIXED * self.tolerance:
                return self.failed(error, self._cause(copies, rights, changed))
        return self._result("passed", worst)

    def _cause(self, answers: list[Answer], rights: list[Answer], changed: str) -> Cause:
        last, tolerance = answers[-1], self.tolerance
        total = tuple(np.sum(parts, axis=0) for parts in zip(*rights, strict=True))
        if self.question.error(self.case, last, total) <= tolerance:
            return Cause(ADDED, "state")
        if changed == "nothing":
            return Cause(TWICE, "state")
        if any(_equal(last, before) for before in answers[:-1]):
            return Cause(STALE, "state")
        return Cause(
            f"the first answer is right, and wrong once only {changed} had changed", "known"
        )


def _arrays(argument: Any) -> tuple[np.ndarray, ...]:
    return argument.arrays if isinstance(argument, MLP) else (argument,)


def _fill(argument: Any, numbers: Any) -> None:
    for array, new in zip(_arrays(argument), numbers, strict=True):
        array[...] = new


def _equal(a: Answer, b: Answer) -> bool:
    return all(map(np.array_equal, a, b))
