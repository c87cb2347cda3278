"""One check: it asks an implementation one question, judges the answer and names the mistake.

A cause is named only if it gives this very answer.  Else the diagnosis says what is known: which
arrays are wrong, and by which factor.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import STRIDED, Case, in_dtype
from kkt_ref.conformance.mistakes import mistakes
from kkt_ref.conformance.questions import Answer, Implementation, Question, names_of
from kkt_ref.conformance.result import Cause, ConformanceError, Result
from kkt_ref.network.mlp import MLP

Array = np.ndarray
MIXED = 1000  # times the tolerance: mixed arguments may be worse conditioned, state errs grossly
STALE = "an answer of an earlier call is returned again: a stale cache"
ADDED = "answers are added to those of earlier calls"
SHARED = "an earlier answer changed afterwards: it shares memory with a buffer or an argument"
TWICE = "the same question gets two answers: state is kept, or random numbers are used"


class UnusableAnswer(Exception):
    """The implementation raised an error, or its answer has the wrong form or shows state."""

    def __init__(self, description: str, source: str = "known", error: float = np.nan) -> None:
        self.cause, self.error = Cause(description, source), error


@dataclass(frozen=True)
class Check:
    """One question about one case; if there is an ``other`` case, whether state is kept."""

    question: Question
    case: Case
    earlier: Case  # the case about which this question is asked first
    tolerance: float
    dtype: np.dtype
    seed: int
    other: Case | None = None  # of the same shapes as ``case``

    @property
    def name(self) -> str:
        """The question and the case."""
        return f"{self.question.name}: {self.case.name}"

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the method, copied, so that they may be changed."""
        strided = self.case.name == STRIDED
        return tuple(_copied(value, strided) for value in self.question.arguments(self.case))

    @cached_property
    def right(self) -> Answer:
        """The right arrays."""
        return self.question.right(*self.question.arguments(self.case))

    @cached_property
    def right_if_changed(self) -> list[Answer]:
        """The right arrays if each argument in turn is that of the ``other`` case."""
        own, others = map(self.question.arguments, (self.case, self.other or self.case))
        changed = [(*own[:i], other, *own[i + 1 :]) for i, other in enumerate(others)]
        return [self.question.right(*arguments) for arguments in changed]

    @cached_property
    def mistaken(self) -> dict[str, list[Answer | None]]:
        """The answers of each mistake, and None where it need not make a difference."""
        inputs, earlier = (
            {name: in_dtype(value, np.float64) for name, value in case.inputs.items()}
            for case in (self.case, self.earlier)
        )
        answers: dict[str, list[Answer | None]] = {}
        with np.errstate(all="ignore"):
            for mistake, parts in mistakes(self.question, inputs, self.right, earlier):
                answer = tuple(map(np.asarray, parts))
                finite = all(np.all(np.isfinite(part)) for part in answer)
                differs = finite and not self.agree(answer, self.right)
                answers.setdefault(mistake, []).append(answer if differs else None)
        return answers

    @property
    def repeat(self) -> str:
        """The lines of Python that repeat this check."""
        options = f"dtype={str(self.dtype)!r}, seed={self.seed}, tolerance={self.tolerance:g}"
        show = f"implementation.{self.question.name}(*check.arguments), check.right"
        show = show if self.other is None else "check.run(implementation)"
        first = f'from kkt_ref.conformance import get_check\ncheck = get_check("{self.name}", '
        return f"{first}{options})\nprint({show})"

    def __call__(self, implementation: object) -> None:
        """Run the check as a test of pytest."""
        import pytest

        result = self.run(implementation)
        if result.status == "skipped":
            pytest.skip(result.diagnosis)
        if result.bad:
            raise ConformanceError([result])

    def run(self, implementation: object) -> Result:
        """Ask the implementation and judge its answer; whatever it does becomes a result."""
        try:
            if self.other is not None:
                return self._run_in_a_row(implementation, self.other)
            answer = self._ask(implementation, self.arguments)
        except NotImplementedError:
            return self.result("skipped", diagnosis="not implemented")
        except UnusableAnswer as unusable:
            return self.result("failed", unusable.error, unusable.cause)
        error = max(self.errors(answer, self.right))
        if error <= self.tolerance:
            return self.result("passed", error)
        return self.result("failed", error, *_causes(self, answer))

    def result(
        self, status: str, error: float = np.nan, *causes: Cause, diagnosis: str = ""
    ) -> Result:
        """Return the result of this check."""
        known = self.name, status, error, self.tolerance, self.dtype.name, self.seed
        repeat = self.repeat if status == "failed" else ""
        diagnosis = str(causes[0]) if causes else diagnosis
        return Result(*known, self.case.meaning, diagnosis, repeat, causes)

    def blocks(self, answer: Answer) -> dict[str, Array]:
        """Return the named arrays of an answer; those of θ are W_1, b_1, W_2, ..."""
        if not self.question.flat:
            return dict(zip(self.question.parts, answer, strict=True))
        net = self.case.inputs["net"]
        ends = np.cumsum([p.size for p in net.arrays])[:-1]
        return dict(zip(names_of(net), np.split(answer[0], ends, axis=-1), strict=True))

    def errors(self, answer: Answer, right: Answer) -> Iterator[float]:
        """Return the error of each of the ``blocks``, relative to its norm."""
        return map(_relative, self.blocks(answer).values(), self.blocks(right).values())

    def agree(self, answer: Answer, right: Answer) -> bool:
        """Whether the errors are within the tolerance."""
        return all(error <= self.tolerance for error in self.errors(answer, right))

    def is_spoiled_by(self, cause: Cause) -> bool:
        """Whether a cause would make the answer wrong."""
        harmless = any(a is None for a in self.mistaken.get(cause.description, [None]))
        return not harmless or cause.source == "precision"

    def _ask(self, implementation: object, arguments: Sequence[Any]) -> Answer:
        """Return the arrays of the answer; raise if it has the wrong form or changes arguments."""
        before = [[p.copy() for p in _arrays_of(argument)] for argument in arguments]
        method = method_of(implementation, self.question.name)
        if method is None:
            raise NotImplementedError
        try:
            answer = method(*arguments)
        except NotImplementedError:
            raise
        except (Exception, SystemExit) as error:  # any error is a failure of the implementation
            message = f"it raised {type(error).__name__}: {error}"
            raise UnusableAnswer(" ".join(message.split())[:300]) from error
        names = zip(self.question.takes, map(_arrays_of, arguments), before, strict=True)
        same = partial(np.array_equal, equal_nan=True)
        changed = [name for name, now, then in names if not all(map(same, now, then))]
        if changed:
            words = f"an argument was changed in place: {' and '.join(changed)}"
            raise UnusableAnswer(words, "state")
        return self._usable(answer)

    def _usable(self, answer: Any) -> Answer:
        """Return the arrays of an answer, or raise if one of them has the wrong form."""
        parts, arrays = self.question.parts, []
        answer = (answer,) if len(parts) == 1 else answer
        if not isinstance(answer, (tuple, list)) or len(answer) != len(parts):
            got = f"{len(answer)} values" if isinstance(answer, (tuple, list)) else _kind(answer)
            expected = f"{len(parts)} values ({', '.join(parts)})"
            raise UnusableAnswer(f"expected a tuple of {expected}, got {got}")
        for name, part, right in zip(parts, answer, self.right, strict=True):
            array = _as_array(part, name)
            if array.shape != right.shape:
                raise UnusableAnswer(f"{name}: expected shape {right.shape}, got {array.shape}")
            if right.ndim and array.dtype != self.dtype:
                raise UnusableAnswer(f"{name}: expected dtype {self.dtype}, got {array.dtype}")
            if not np.all(np.isfinite(array)):
                raise UnusableAnswer(f"{name}: expected finite values, got NaN or infinity")
            arrays.append(array)
        return tuple(arrays)

    def _run_in_a_row(self, implementation: object, other: Case) -> Result:
        """Ask about the case, then with one argument changed at a time, and each time again.

        Each argument is replaced twice: by another array, and by other numbers in the same array.
        If the first answer is wrong, nothing can be said of memory.
        """
        given, others = list(self.arguments), self.question.arguments(other)
        answers: list[Answer] = []
        copies: list[Answer] = []
        rights: list[Answer] = []
        errors: list[float] = []

        def ask(changed: str, right: Answer = self.right, allowed: float = MIXED) -> None:
            answers.append(self._ask(implementation, given))
            copies.append(tuple(map(np.array, answers[-1])))
            rights.append(right)
            if not all(map(_equal, answers, copies)):
                raise UnusableAnswer(SHARED, "state")
            errors.append(max(self.errors(copies[-1], right)))
            if not errors[-1] <= allowed * self.tolerance:
                raise UnusableAnswer(*self._state(copies, rights, changed), errors[-1])

        try:
            ask("nothing", allowed=1)
        except UnusableAnswer:
            why = "memory is not judged, because the first answer is not right"
            return self.result("skipped", diagnosis=why)
        ask("nothing")
        changed = zip(self.question.takes, self.right_if_changed, strict=True)
        for place, (name, right) in enumerate(changed):
            own, numbers = given[place], [p.copy() for p in _arrays_of(given[place])]
            given[place] = others[place]
            ask(name, right)
            given[place] = own
            ask("nothing")
            if numbers:
                _fill(own, _arrays_of(others[place]))
                ask(f"the numbers in {name}", right)
                _fill(own, numbers)
                ask("nothing")
        return self.result("passed", max(errors[1:]))

    def _state(self, answers: list[Answer], rights: list[Answer], changed: str) -> tuple[str, str]:
        """Return the cause that the last answer is wrong, and its source."""
        last = answers[-1]
        if self.agree(last, tuple(np.sum(parts, axis=0) for parts in zip(*rights, strict=True))):
            return ADDED, "state"
        if changed == "nothing":
            return TWICE, "state"
        if any(_equal(last, before) for before in answers[:-1]):
            return STALE, "state"
        return f"the first answer is right, and wrong once only {changed} had changed", "known"


def method_of(implementation: object, name: str) -> Any:
    """Return a method that the kit can call, or None."""
    method = getattr(implementation, name, None)
    left_out = getattr(type(implementation), name, None) is getattr(Implementation, name)
    return method if callable(method) and not left_out else None


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


def _arrays_of(argument: Any) -> tuple[Array, ...]:
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


def _fill(argument: Any, numbers: Any) -> None:
    for array, new in zip(_arrays_of(argument), numbers, strict=True):
        array[...] = new


def _equal(a: Answer, b: Answer) -> bool:
    return all(map(np.array_equal, a, b))


def _relative(array: Array, wanted: Array) -> float:
    """Return ‖array − wanted‖ / ‖wanted‖, or ‖array‖ if ``wanted`` is zero."""
    with np.errstate(all="ignore"):  # an answer may be as large as it likes
        return float(np.linalg.norm(array - wanted) / (np.linalg.norm(wanted) or 1.0))


def _causes(check: Check, answer: Answer) -> tuple[Cause, ...]:
    """Return all causes that give this wrong answer, and then what else is known."""
    with np.errstate(all="ignore"):  # an answer may be as large as it likes
        causes = [
            Cause(mistake, "mistake")
            for mistake, answers in check.mistaken.items()
            if any(other is not None and check.agree(answer, other) for other in answers)
        ]
        causes += _precision(check, answer)
        return (*causes, *(Cause(fact, "known") for fact in _facts(check, answer)))


def _precision(check: Check, answer: Answer) -> list[Cause]:
    """Name the precision if the answer is nearly right and has no digits beyond it."""
    error = max(check.errors(answer, check.right))
    for kind, largest in (("bfloat16", 0.2), ("float16", 0.05), ("float32", 1e-4)):
        short = sum(part.size for part in answer) > 1 or kind == "float32"
        if short and error <= largest and all(_holds(part, kind) for part in answer):
            return [Cause(f"numbers are computed or rounded in {kind}", "precision")]
    return []


def _holds(part: Array, kind: str) -> bool:
    """Whether a floating type can hold these numbers."""
    if kind == "bfloat16":
        bits = part.astype(np.float32).view(np.uint32)
        return _holds(part, "float32") and not np.any(bits & 0xFFFF)
    return bool(np.all(part.astype(kind).astype(np.float64) == part))


def _facts(check: Check, answer: Answer) -> dict[str, None]:
    """Return which arrays are wrong and by which factor, once for each name of the factor."""
    got, wanted = check.blocks(answer), check.blocks(check.right)
    factors, tol = _factors(check.case.inputs), check.tolerance
    wrong = {
        name: _compared(got[name], wanted[name], factors, tol)
        for name in wanted
        if _relative(got[name], wanted[name]) > tol
    }
    all_wrong, facts = len(wrong) == len(wanted), dict[str, None]()
    for preferred in dict.fromkeys(chain(*wrong.values())):
        groups: dict[str, list[str]] = {}
        for name, options in wrong.items():
            groups.setdefault(preferred if preferred in options else options[0], []).append(name)
        parts = [_sentence(names, fact, list(wanted)) for fact, names in groups.items()]
        if len(groups) == 1 and all_wrong:
            parts = [f"the answer is {preferred}"]
        facts["; ".join(parts if all_wrong else [*parts, "the rest is right"])] = None
    return facts


def _sentence(names: list[str], fact: str, wanted: list[str]) -> str:
    for kind in "Wb":
        every = [name for name in wanted if name.startswith(f"{kind}_")]
        if len(every) > 1 and set(every) <= set(names):
            names = [f"every {kind}", *(name for name in names if name not in every)]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {fact}"


def _factors(inputs: dict[str, Any]) -> dict[str, float]:
    factors = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "4": 4.0, "1/4": 0.25}
    if "net" not in inputs:
        return factors | {"255": 255.0}
    net, theta = inputs["net"], inputs["net"].theta.astype(np.float64)
    sizes = {"m": len(inputs["x"]), "P": theta.size, "K": net.K, "L": net.depth}
    sizes |= {"‖θ‖": np.linalg.norm(theta), "‖θ‖²": np.sum(theta**2)}
    sizes |= {"alpha": getattr(net.activation, "alpha", 1.0)}
    for name, size in sizes.items():
        if size != 1:
            factors |= {name: float(size), f"1/{name}": 1 / float(size), f"-1/{name}": -1 / size}
    return factors


def _compared(got: Array, wanted: Array, factors: dict[str, float], tol: float) -> list[str]:
    """Return what a wrong array is, in all words that fit."""
    if not np.any(wanted):
        return ["not 0"]
    if not np.any(got):
        return ["0"]
    names = [name for name, c in factors.items() if _relative(got, c * wanted) <= tol]
    if not names:
        c = float(np.sum(got * wanted) / np.sum(wanted**2))
        short = float(f"{c:.3g}")  # any single number has a factor, but seldom a short one
        if _relative(got, (c if got.size > 1 else short) * wanted) <= tol:
            names = [f"{c:.6g}"]
    return [f"{name} times the right one" for name in names] or ["wrong"]
