"""One check: it asks an implementation one question, and says what the answer is worth."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kkt_ref.conformance.cases import STRIDED
from kkt_ref.conformance.diagnose import Asked, Cause, causes_of
from kkt_ref.conformance.questions import Answer, Implementation, Question
from kkt_ref.network.mlp import MLP

Array = np.ndarray


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
        said = "; ".join(part for part in (error, self.diagnosis) if part)
        return f"{self.status:8} {self.name}: {said}" if said else f"{self.status:8} {self.name}"

    def report(self) -> str:
        """Return that line, what the check tests, and the lines that repeat it."""
        lines = [f"this case tests: {self.meaning}", *self.repeat.splitlines()]
        return "\n".join([str(self), *(f"         {line}" for line in lines)])


class UnusableAnswer(Exception):
    """The implementation raised an error, or its answer has the wrong form."""

    def __init__(self, text: str, source: str = "known", error: float = float("nan")) -> None:
        self.cause, self.error = Cause(text, source), error


@dataclass(frozen=True)
class Check(Asked):
    """One question about one case."""

    dtype: np.dtype
    seed: int
    name: str

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the method, copied, so that they may be changed."""
        given = self.question.arguments(self.case)
        return tuple(_copied(part, self.case.name == STRIDED) for part in given)

    @property
    def repeat(self) -> str:
        """The lines of Python that repeat this check."""
        options = f"dtype={str(self.dtype)!r}, seed={self.seed}, tolerance={self.tolerance:g}"
        first = f'from kkt_ref.conformance import get_check\ncheck = get_check("{self.name}", '
        return f"{first}{options})\n{self.last_line}"

    @property
    def last_line(self) -> str:
        """How the method is asked again."""
        return f"print(implementation.{self.question.name}(*check.arguments), check.right)"

    def __call__(self, implementation: object) -> None:
        """Run the check as a test of pytest."""
        import pytest

        from kkt_ref.conformance.verdict import ConformanceError

        result = self.run(implementation)
        if result.status == "skipped":
            pytest.skip(result.diagnosis)
        if result.bad:
            raise ConformanceError([result])

    def run(self, implementation: object) -> Result:
        """Ask the implementation and judge its answer; whatever it does becomes a result."""
        try:
            return self._run(implementation)
        except NotImplementedError:
            return self.result("skipped", diagnosis="not implemented")
        except UnusableAnswer as unusable:
            return self.result("failed", unusable.error, unusable.cause)

    def _run(self, implementation: object) -> Result:
        return self.judge(ask(self.question, implementation, self.arguments))

    def judge(self, answer: object) -> Result:
        """Judge an answer, which may be anything."""
        try:
            arrays = usable(self.question, answer, self.right, self.dtype)
        except UnusableAnswer as unusable:
            return self.result("failed", unusable.error, unusable.cause)
        error = self.error(arrays, self.right)
        if error <= self.tolerance:
            return self.result("passed", error)
        return self.result("failed", error, *causes_of(self, arrays))

    def result(
        self, status: str, error: float = float("nan"), *causes: Cause, diagnosis: str = ""
    ) -> Result:
        """Return the result of this check."""
        known = self.name, status, error, self.tolerance, self.dtype.name, self.seed
        repeat = self.repeat if status == "failed" else ""
        said = str(causes[0]) if causes else diagnosis
        return Result(*known, self.case.meaning, said, repeat, causes)


def method_of(implementation: object, name: str) -> Any:
    """Return a method that the kit can call, or None."""
    found = getattr(implementation, name, None)
    left_out = getattr(type(implementation), name, None) is getattr(Implementation, name)
    return found if callable(found) and not left_out else None


def ask(question: Question, implementation: object, arguments: Sequence[Any]) -> Any:
    """Return what the method returns; raise if it raises or changes its arguments."""
    before = [[p.copy() for p in arrays_of(part)] for part in arguments]
    method = method_of(implementation, question.name)
    if method is None:
        raise NotImplementedError
    try:
        answer = method(*arguments)
    except NotImplementedError:
        raise
    except (Exception, SystemExit) as error:  # any error is a failure of the implementation
        said = f"it raised {type(error).__name__}: {error}"
        raise UnusableAnswer(" ".join(said.split())[:300]) from error
    names = zip(question.takes, map(arrays_of, arguments), before, strict=True)
    same = partial(np.array_equal, equal_nan=True)
    changed = [name for name, now, then in names if not all(map(same, now, then))]
    if changed:
        raise UnusableAnswer(f"an argument was changed in place: {' and '.join(changed)}", "state")
    return answer


def usable(question: Question, answer: object, right: Answer, dtype: np.dtype) -> Answer:
    """Return the arrays of an answer, or raise if one of them has the wrong form."""
    if len(right) == 1:
        answer = (answer,)
    if not isinstance(answer, (tuple, list)) or len(answer) != len(right):
        got = f"{len(answer)} values" if isinstance(answer, (tuple, list)) else _kind(answer)
        wanted = f"{len(right)} values ({', '.join(question.parts)})"
        raise UnusableAnswer(f"expected a tuple of {wanted}, got {got}")
    arrays = []
    for name, part, wanted in zip(question.parts, answer, right, strict=True):
        array = _as_array(part, name)
        if array.shape != wanted.shape:
            raise UnusableAnswer(f"{name}: expected shape {wanted.shape}, got {array.shape}")
        if wanted.ndim and array.dtype != dtype:
            raise UnusableAnswer(f"{name}: expected dtype {dtype}, got {array.dtype}")
        if not np.all(np.isfinite(array)):
            raise UnusableAnswer(f"{name}: expected finite values, got NaN or infinity")
        arrays.append(array)
    return tuple(arrays)


def _as_array(part: object, name: str) -> Array:
    if part is None:
        raise UnusableAnswer(f"{name}: expected numbers, got None; a return is missing")
    try:
        array = np.asarray(part)
    except Exception as error:  # a library's own array may refuse in any way
        hint = "; detach it first" if "grad" in str(error) else ""
        raise UnusableAnswer(
            f"{name}: expected a NumPy array, got {_kind(part)}, which NumPy cannot read "
            f"({' '.join(str(error).split())[:150]}){hint}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise UnusableAnswer(f"{name}: expected real numbers, got {_kind(part)} of {array.dtype}")
    return array


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def arrays_of(argument: Any) -> tuple[Array, ...]:
    """Return the arrays of an argument."""
    if isinstance(argument, MLP):
        return argument.arrays
    return (argument,) if isinstance(argument, np.ndarray) else ()


def _copied(argument: Any, strided: bool) -> Any:
    """Return a copy of a network or an array, perhaps in Fortran's order and with gaps."""
    if isinstance(argument, MLP):
        return argument.with_arrays([_copied(p, strided) for p in argument.arrays])
    if not strided or not isinstance(argument, np.ndarray):
        return copy.copy(argument)
    gap = np.nan if argument.dtype.kind == "f" else 0
    room = np.full((*argument.shape[::-1][:-1], 2 * argument.shape[0]), gap, argument.dtype)
    view = room[..., ::2].T  # shaped like the argument
    view[...] = argument
    return view
