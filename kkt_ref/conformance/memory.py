"""Is any state kept between calls?  The same question, with one argument changed at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.checks import Check, Result, UnusableAnswer, arrays_of, ask, usable
from kkt_ref.conformance.questions import Answer

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
    def last_line(self) -> str:
        """How the check is repeated."""
        return "print(check.run(implementation))"

    def _run(self, implementation: object) -> Result:
        given, other = list(self.arguments), self.question.arguments(self.other)
        answers: list[Answer] = []
        copies: list[Answer] = []
        rights: list[Answer] = []

        def error_after(changed: str, right: Answer, allowed: float) -> float:
            answer = ask(self.question, implementation, given)
            answers.append(usable(self.question, answer, right, self.dtype))
            copies.append(tuple(map(np.array, answers[-1])))
            rights.append(right)
            if not all(map(_equal, answers, copies)):
                raise UnusableAnswer(SHARED, "state")
            error = self.error(copies[-1], right)
            if not error <= allowed * self.tolerance:
                raise UnusableAnswer(*self._cause(copies, rights, changed), error)
            return error

        try:
            error_after("nothing", self.right, 1)
        except UnusableAnswer:
            why = "memory is not judged, because the first answer is not right"
            return self.result("skipped", diagnosis=why)
        errors = [error_after("nothing", self.right, MIXED)]
        for place, name in enumerate(self.question.takes):
            mine, numbers = given[place], [p.copy() for p in arrays_of(given[place])]
            given[place] = other[place]
            right = self.question.reference(*given)
            errors.append(error_after(name, right, MIXED))
            given[place] = mine
            errors.append(error_after("nothing", self.right, MIXED))
            if numbers:
                _fill(mine, arrays_of(other[place]))
                errors.append(error_after(f"the numbers in {name}", right, MIXED))
                _fill(mine, numbers)
                errors.append(error_after("nothing", self.right, MIXED))
        return self.result("passed", max(errors))

    def _cause(self, answers: list[Answer], rights: list[Answer], changed: str) -> tuple[str, str]:
        """Return the text and the source of the cause that the last answer is wrong."""
        last = answers[-1]
        total = tuple(np.sum(parts, axis=0) for parts in zip(*rights, strict=True))
        if self.agree(last, total):
            return ADDED, "state"
        if changed == "nothing":
            return TWICE, "state"
        if any(_equal(last, before) for before in answers[:-1]):
            return STALE, "state"
        return f"the first answer is right, and wrong once only {changed} had changed", "known"


def _fill(argument: Any, numbers: Any) -> None:
    for array, new in zip(arrays_of(argument), numbers, strict=True):
        array[...] = new


def _equal(a: Answer, b: Answer) -> bool:
    return all(map(np.array_equal, a, b))
