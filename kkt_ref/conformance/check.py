"""One check: it asks an implementation one question twice, and judges the answers."""

import copy
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from types import ModuleType
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import STRIDED, Case, Inputs, in_dtype
from kkt_ref.conformance.causes import flat, relative, settled, wrong_arrays
from kkt_ref.conformance.mistakes import Mistake, mistakes
from kkt_ref.conformance.questions import Answer, Implementation, Question
from kkt_ref.conformance.result import Cause, ConformanceError, Result
from kkt_ref.conformance.steps import names_of
from kkt_ref.network.mlp import MLP

Array = np.ndarray
MIXED = 1000  # times the tolerance: mixed arguments may be worse conditioned, state errs grossly
NEAR = 10  # times the tolerance, for arguments that hardly change
NUDGES = {"float64": (1e-8, 1e-4), "float32": (1e-3,)}  # relative changes of one number
TWICE = "the same question gets two answers: state is kept, or random numbers are used"
STALE = "an answer of an earlier call is returned again: a stale cache"
SHARED = "an earlier answer changed afterwards: it shares memory with a buffer or an argument"
AGAIN = "the array of an earlier answer is returned again, from a cache or a buffer; return a copy"


class UnusableAnswer(Exception):
    """The implementation raised an error, or its answer has the wrong form or shows state."""

    def __init__(self, description: str, source: str = "seen", error: float = np.nan) -> None:
        self.cause, self.error = Cause(description, source), error


@dataclass(eq=False)
class Check:
    """One question about one case; if there is an ``other`` case, whether state is kept."""

    question: Question
    case: Case  # whose numbers are in float64, and ``dtype`` can hold them
    tolerance: float
    dtype: np.dtype
    seed: int
    other: Case | None = None  # of the same shapes as ``case``
    group: Callable[[], list["Check"]] = list  # returns all checks with this question
    last: tuple[object, Result | None] = field(default=(None, None), repr=False)
    answer: Answer = field(default=(), repr=False)  # the last one that was wrong

    @property
    def name(self) -> str:
        """The question and the case."""
        return f"{self.question.name}: {self.case.name}"

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of the method, copied, so that they may be changed."""
        strided = self.case.name == STRIDED
        return tuple(_copied(value, self.dtype, strided) for value in self.case.inputs.values())

    @cached_property
    def right(self) -> Answer:
        """The right arrays."""
        return self.question.right(self.case.inputs)

    @cached_property
    def mistaken(self) -> list[tuple[Mistake, Array]]:
        """The mistakes that can be made here, and the numbers they give; of a loss its value."""
        known = mistakes(self.question.name, self.case.inputs)
        given = ((mistake, self.given_by(mistake, gradients=False)) for mistake in known)
        return [(mistake, flat(answer)) for mistake, answer in given if answer]

    def given_by(self, mistake: Mistake, gradients: bool = True) -> Answer | None:
        """Return the answer that a mistake gives."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # autograd warns if the gradient is 0
            return mistake.answer(self.question.name, self.case.inputs, self.right, gradients)

    def repeat(self, implementation: object) -> str:
        """Return the lines of Python that repeat this check."""
        options = f"dtype={str(self.dtype)!r}, seed={self.seed}, tolerance={self.tolerance!r}"
        imported, spelled = _spelled(implementation)
        show = "check.arguments, check.right"
        if spelled:
            show = f"{spelled}.{self.question.name}(*check.arguments), check.right"
            show = f"check.run({spelled})" if self.other else show
        first = f'from kkt_ref.conformance import get_check\ncheck = get_check("{self.name}", '
        return f"{first}{options})\n{imported}print({show})"

    def __call__(self, implementation: object) -> None:
        """Run the check as a test of pytest."""
        import pytest

        result = self.run(implementation)
        if result.status == "skipped":
            pytest.skip(result.diagnosis)
        if result.bad:
            raise ConformanceError([result])

    def run(self, implementation: object) -> Result:
        """Return the result; if it is a failure, the other checks of its question have a say."""
        result = self.asked(implementation)
        if result.status != "failed":
            return result
        group = self.group()
        return settled(group, [check.known(implementation) for check in group])[group.index(self)]

    def known(self, implementation: object) -> Result:
        """Return the result, which may be known already."""
        of, result = self.last
        return result if result and of is implementation else self.asked(implementation)

    @np.errstate(all="ignore")  # an answer may be as large as it likes
    def asked(self, implementation: object) -> Result:
        """Ask the implementation and judge its answers; whatever it does becomes a result."""
        result = self._asked(implementation)
        if result.status == "failed":
            result = result._replace(repeat=self.repeat(implementation))
        self.last = implementation, result
        return result

    def _asked(self, implementation: object) -> Result:
        if method_of(implementation, self.question.name) is None:
            return self.result("skipped", diagnosis="not implemented")
        try:
            if self.other is not None:
                return self._asked_in_a_row(implementation, self.other.inputs)
            answers = [self._ask(implementation, self.arguments)]
            first = tuple(map(np.array, answers[0]))
            answers.append(self._ask(implementation, self.arguments))
            _check_memory(answers, [first, answers[1]])
            for one, two, right in zip(first, answers[1], self.right, strict=True):
                size = max(np.linalg.norm(right) or 1.0, np.linalg.norm(one))
                if np.linalg.norm(one - two) > self.tolerance * size:
                    raise UnusableAnswer(TWICE, "state", max(self.errors(first, self.right)))
        except NotImplementedError:
            return self.result("unanswered", diagnosis="NotImplementedError")
        except UnusableAnswer as unusable:
            return self.result("failed", unusable.error, [unusable.cause])
        error = max(self.errors(first, self.right))
        if error <= self.tolerance:
            return self.result("passed", error)
        self.answer = first
        seen = Cause("the answer is wrong", "seen")
        return self.result("failed", error, [seen])._replace(wrong=wrong_arrays(self, first))

    def result(
        self, status: str, error: float = np.nan, causes: Sequence[Cause] = (), diagnosis: str = ""
    ) -> Result:
        """Return the result of this check."""
        known = self.name, status, error, self.tolerance, self.dtype.name, self.seed
        diagnosis = str(causes[0]) if causes else diagnosis
        return Result(*known, self.case.meaning, diagnosis, causes=tuple(causes))

    def blocks(self, answer: Answer) -> dict[str, Array]:
        """Return the named arrays of an answer; those of θ are W_1, b_1, W_2, ..."""
        if not self.question.flat:
            return dict(zip(self.question.parts, answer, strict=True))
        net = self.case.inputs["net"]
        ends = np.cumsum([p.size for p in net.arrays])[:-1]
        return dict(zip(names_of(net), np.split(answer[0], ends, axis=-1), strict=True))

    def errors(self, answer: Answer, right: Answer) -> Iterator[float]:
        """Return the error of each of the ``blocks``, relative to its norm."""
        return map(relative, self.blocks(answer).values(), self.blocks(right).values())

    def _ask(self, implementation: object, arguments: Iterable[Any]) -> Answer:
        """Return the arrays of the answer; raise if it has the wrong form or changes arguments."""
        given = dict(zip(self.case.inputs, arguments, strict=True))
        before = {name: [p.copy() for p in _arrays_of(value)] for name, value in given.items()}
        try:
            answer = method_of(implementation, self.question.name)(*given.values())
        except NotImplementedError:
            raise
        except (Exception, SystemExit) as error:  # any error is a failure of the implementation
            message = f"it raised {type(error).__name__}: {error}"
            raise UnusableAnswer(" ".join(message.split())[:300]) from error
        changed = [name for name, was in before.items() if not _equal(_arrays_of(given[name]), was)]
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

    def _asked_in_a_row(self, implementation: object, others: Inputs) -> Result:
        """Ask about the case, then with one argument changed at a time, and the case again.

        An argument is replaced by that of ``others`` and by one that hardly differs, as a new array
        and as new numbers in the same array.  A first answer that was wrong elsewhere says nothing
        of memory.
        """
        inputs, given = self.case.inputs, dict(zip(self.case.inputs, self.arguments, strict=True))
        answers, copies, errors = list[Answer](), list[Answer](), list[float]()

        def ask(changed: str, right: Answer = self.right, allowed: float = MIXED) -> None:
            answers.append(self._ask(implementation, given.values()))
            copies.append(tuple(map(np.array, answers[-1])))
            errors.append(max(self.errors(copies[-1], right)))
            if errors[-1] <= allowed * self.tolerance:
                return
            if changed == "nothing":
                raise UnusableAnswer(TWICE, "state", errors[-1])
            if any(_equal(copies[-1], before) for before in copies[:-1]):
                raise UnusableAnswer(STALE, "state", errors[-1])
            words = f"the first answer is right, and wrong once only {changed} had changed"
            raise UnusableAnswer(words, "seen", errors[-1])

        try:
            ask("nothing", allowed=1)
        except UnusableAnswer:
            if self.group()[0].known(implementation).status == "passed":
                raise
            why = "memory is judged only if the first answer is right"
            return self.result("skipped", diagnosis=why)
        ask("nothing")
        changes = [(name, name, others[name], MIXED) for name in inputs]
        for name, step in product(inputs, NUDGES[self.dtype.name]):
            if name != "y":  # labels cannot change a little
                changes.append((name, f"{name} by very little", _nudged(inputs[name], step), NEAR))
        for (name, how, value, allowed), in_place in product(changes, (False, True)):
            right = self.question.right(inputs | {name: value})
            own, new = given[name], _copied(value, self.dtype)
            numbers = [p.copy() for p in _arrays_of(own)]
            if numbers and in_place:
                _fill(own, _arrays_of(new))
            else:
                given[name] = new
            ask(how, right, allowed)
            given[name] = own
            _fill(own, numbers)
            ask("nothing")
        _check_memory(answers, copies)
        return self.result("passed", max(errors))


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


def _copied(value: Any, dtype: np.dtype, strided: bool = False) -> Any:
    """Return a copy in ``dtype`` of a network or an array, perhaps in another order, with gaps."""
    value = in_dtype(value, dtype)
    if strided and isinstance(value, MLP):
        return value.with_arrays([_copied(p, dtype, strided) for p in value.arrays])
    if not strided or not isinstance(value, np.ndarray):
        return copy.copy(value)
    return np.repeat(value.T, 2, axis=-1)[..., ::2].T


def _fill(argument: Any, numbers: Any) -> None:
    for array, new in zip(_arrays_of(argument), numbers, strict=True):
        array[...] = new


def _equal(a: Answer, b: Answer) -> bool:
    return all(map(np.array_equal, a, b))


def _same_memory(a: Array, b: Array) -> bool:
    """Whether a change of one array changes the other."""
    return bool((a.flags.writeable or b.flags.writeable) and np.may_share_memory(a, b))


def _check_memory(answers: list[Answer], copies: list[Answer]) -> None:
    """Raise if an answer is no longer what it was, or shares memory with another."""
    if not all(map(_equal, answers, copies)):
        raise UnusableAnswer(SHARED, "state")
    if any(any(map(_same_memory, *pair)) for pair in combinations(answers, 2)):
        raise UnusableAnswer(AGAIN, "state")


def _nudged(value: Any, step: float) -> Any:
    """Return a copy in which the largest number of the first array is a little larger."""
    other = _copied(value, np.dtype(float))
    for array in _arrays_of(other)[:1]:
        array.flat[np.abs(array).argmax()] *= 1 + step
    return other if _arrays_of(other) else other * (1 + step)


def _spelled(implementation: object) -> tuple[str, str]:
    """Return how to import an implementation and how to write it, or two empty strings."""
    if isinstance(implementation, ModuleType):
        return f"import {implementation.__name__}; ", implementation.__name__
    kind = type(implementation)
    module, name = sys.modules.get(kind.__module__), kind.__name__
    try:
        inspect.signature(kind).bind()
    except (TypeError, ValueError):  # it needs arguments, or shows no signature
        return "", ""
    if kind.__module__ in ("__main__", "types") or getattr(module, name, None) is not kind:
        return "", ""
    return f"from {kind.__module__} import {name}; ", f"{name}()"
