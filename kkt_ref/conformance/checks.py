"""Is another implementation right?  The kit asks it the same questions as this library.

An implementation is any object with some of the methods of :class:`Implementation`,
NumPy arrays in and out.  Each of its answers is compared with autograd's, norm-wise for
each array.  For one that is wrong the kit tries the known wrong conventions and says
which of them gives that answer (:mod:`kkt_ref.conformance.causes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._validation import check_count, check_dtype
from kkt_ref.conformance.cases import Case, ImageCase
from kkt_ref.conformance.causes import diagnose
from kkt_ref.conformance.questions import QUESTIONS, Answer, Implementation, Question

Array = np.ndarray
TOLERANCES = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}
__all__ = [
    "ConformanceError",
    "Implementation",
    "Result",
    "check_implementation",
    "check_names",
    "parametrize_with_checks",
]
FUNCTIONS = tuple(QUESTIONS)
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
EXPECTED, UNEXPECTED = "expected failure", "unexpected pass"


class Result(NamedTuple):
    """One check."""

    name: str  # "function: case"
    status: str  # passed, failed, skipped, expected failure, unexpected pass
    error: float  # worst relative error over the arrays; NaN where none was measured
    tolerance: float
    meaning: str  # what a failure usually means
    diagnosis: str  # what it means this time, where that is known

    @property
    def bad(self) -> bool:
        """Whether the verdict is against the implementation."""
        return self.status in (FAILED, UNEXPECTED)


class ConformanceError(AssertionError):
    """An implementation failed checks; ``results`` holds all of them."""

    def __init__(self, results: list[Result]) -> None:
        self.results = results
        bad = [result for result in results if result.bad]
        lines = [
            f"  {r.name}: {r.status}, error {r.error:.1e} (tolerance {r.tolerance:.0e}); "
            f"{r.diagnosis or r.meaning}"
            for r in bad
        ]
        super().__init__("\n".join([f"{len(bad)} of {len(results)} checks failed", *lines]))


def check_names() -> list[str]:
    """Return the names of all checks."""
    questions = QUESTIONS.values()
    return [f"{q.name}: {case.name}" for q in questions for case in q.cases(np.float64, 0)] + [
        f"{q.name}: no memory" for q in questions
    ]


def check_implementation(
    implementation: Any,
    *,
    dtype: Any = np.float64,
    expected_failures: Mapping[str, str] | None = None,
    on_fail: str = "raise",
    seed: int = 0,
) -> list[Result]:
    """Ask an implementation every question.

    Parameters
    ----------
    implementation : object
        With any of the methods of :class:`Implementation`.
    dtype : float64 or float32
        Of the arrays it is given and must return; tolerance 1e-10 or 1e-5.
    expected_failures : mapping, optional
        Name of a check to the reason why it fails.  If it passes, that is a failure.
    on_fail : {"raise", "return"}
    seed : int
        Of the inputs.

    Returns
    -------
    list of Result
        What the implementation lacks is skipped, never passed.

    Raises
    ------
    ConformanceError
        If a check fails and ``on_fail`` is "raise".
    ValueError
        If an argument is off, or the implementation has none of the methods.
    """
    dtype, seed = check_dtype(dtype), check_count(seed, "seed", 0)
    if on_fail not in ("raise", "return"):
        raise ValueError(f"on_fail: expected 'raise' or 'return', got {on_fail!r}")
    if not any(_has(implementation, question) for question in QUESTIONS.values()):
        raise ValueError(
            f"implementation: expected an object with methods {', '.join(FUNCTIONS)}, got "
            f"{implementation!r}, which has none of them"
        )
    if not isinstance(expected_failures, (Mapping, type(None))):
        raise TypeError(
            f"expected_failures: expected a mapping of names to reasons, got {expected_failures!r}"
        )
    expected = dict(expected_failures or {})
    unknown = sorted(expected.keys() - set(check_names()))
    if unknown:
        raise ValueError(f"expected_failures: there are no checks named {unknown}")
    results = []
    for question in QUESTIONS.values():
        for case in question.cases(dtype, seed):
            results.append(_check(implementation, question, case, dtype, expected))
        results.append(_check_memory(implementation, question, dtype, seed, expected))
    if on_fail == "raise" and any(result.bad for result in results):
        raise ConformanceError(results)
    return results


def _check(
    implementation: Any,
    question: Question,
    case: Case | ImageCase,
    dtype: Any,
    expected: dict[str, str],
) -> Result:
    name, tolerance = f"{question.name}: {case.name}", TOLERANCES[dtype]
    if not _has(implementation, question):
        return Result(name, SKIPPED, float("nan"), tolerance, case.meaning, "not implemented")
    right = question.reference(case)
    answer, problem = _ask(implementation, question, case, dtype, right)
    if answer is None and not problem:
        return Result(name, SKIPPED, float("nan"), tolerance, case.meaning, "not implemented")
    error = float("nan")
    if not problem:
        error = _error(question, case, answer, right)
        if error > tolerance:
            problem = diagnose(question, case, answer, right, error, tolerance, _error)
    failed = bool(problem) or not error <= tolerance
    return _verdict(name, failed, error, tolerance, case.meaning, problem, expected)


def _check_memory(
    implementation: Any, question: Question, dtype: Any, seed: int, expected: dict[str, str]
) -> Result:
    """One case before and after another: nothing may be remembered or changed in place."""
    name, tolerance = f"{question.name}: no memory", TOLERANCES[dtype]
    meaning = "state from an earlier call, or arguments changed in place"
    if not _has(implementation, question):
        return Result(name, SKIPPED, float("nan"), tolerance, meaning, "not implemented")
    case, other = (question.cases(dtype, seed + later)[0] for later in (0, 1))
    before = [np.copy(part) for part in _inputs(case)]
    first, problem = _ask(implementation, question, case, dtype, question.reference(case))
    if first is None:
        status = FAILED if problem else SKIPPED
        return Result(name, status, float("nan"), tolerance, meaning, problem or "not implemented")
    right = question.reference(other)
    second, problem = _ask(implementation, question, other, dtype, right)
    error = float("nan")
    if not problem:
        if not all(map(np.array_equal, before, _inputs(case))):
            problem = "an argument was changed in place"
        else:
            error = _error(question, other, second, right)
            if error > tolerance and _error(question, other, first, second) == 0.0:
                problem = "the second call returned the first one's answer: a stale cache"
    failed = bool(problem) or not error <= tolerance
    return _verdict(name, failed, error, tolerance, meaning, problem, expected)


def _has(implementation: Any, question: Question) -> bool:
    return callable(getattr(implementation, question.name, None))


def _inputs(case: Case | ImageCase) -> list[Array]:
    if isinstance(case, ImageCase):
        return [case.a, case.b]
    return [*case.net.arrays, case.x, case.y, case.multipliers]


def _verdict(
    name: str,
    failed: bool,
    error: float,
    tolerance: float,
    meaning: str,
    problem: str,
    expected: dict[str, str],
) -> Result:
    if name in expected:
        status = EXPECTED if failed else UNEXPECTED
        problem = expected[name]
    else:
        status = FAILED if failed else PASSED
    return Result(name, status, error, tolerance, meaning, problem)


def _ask(
    implementation: Any, question: Question, case: Any, dtype: Any, right: Answer
) -> tuple[Any, str]:
    """The answer as a tuple of arrays and "", or None and what is wrong with it."""
    try:
        answer = getattr(implementation, question.name)(*question.arguments(case))
    except NotImplementedError:
        return None, ""
    except Exception as error:  # whatever it raises is a failure of its own
        return None, f"it raised {type(error).__name__}: {error}"
    answer = answer if len(question.parts) > 1 else (answer,)
    if not isinstance(answer, (tuple, list)) or len(answer) != len(right):
        return None, f"expected {len(right)} values, got {type(answer).__name__}"
    arrays = tuple(np.asarray(part) for part in answer)
    for part, wanted in zip(arrays, right, strict=True):
        if part.shape != wanted.shape:
            return None, f"expected shape {wanted.shape}, got {part.shape}"
        if wanted.ndim and part.dtype != dtype:
            return None, f"expected dtype {dtype}, got {part.dtype}"
        if not np.all(np.isfinite(part)):
            return None, "expected finite values, got NaN or infinity"
    return arrays, ""


def _error(question: Question, case: Any, answer: Answer, wanted: Answer) -> float:
    """Worst relative norm-wise error over the arrays that an answer is made of."""
    if question.flat:
        cuts = np.cumsum([p.size for p in case.net.arrays])[:-1]
        answer, wanted = (tuple(np.split(part[0], cuts, axis=-1)) for part in (answer, wanted))
    worst = 0.0
    for part, right in zip(answer, wanted, strict=True):
        right = np.asarray(right, np.float64)
        difference = float(np.linalg.norm(np.asarray(part, np.float64) - right))
        size = float(np.linalg.norm(right))
        worst = max(worst, difference / size if size > 0 else difference)
    return worst


def parametrize_with_checks(implementations: list[Any], *, dtype: Any = np.float64) -> Any:
    """Return a pytest decorator: one test for each implementation and check.

    The test takes ``implementation`` and ``check``, and calls ``check(implementation)``,
    which raises :class:`ConformanceError` or skips.
    """
    import pytest

    def one(name: str) -> Any:
        def check(implementation: Any) -> None:
            function, label = name.split(": ")
            question, kind = QUESTIONS[function], np.dtype(dtype)
            if label == "no memory":
                result = _check_memory(implementation, question, kind, 0, {})
            else:
                case = next(case for case in question.cases(kind, 0) if case.name == label)
                result = _check(implementation, question, case, kind, {})
            if result.status == SKIPPED:
                pytest.skip(result.diagnosis)
            if result.bad:
                raise ConformanceError([result])

        return pytest.param(check, id=name)

    def decorate(test: Any) -> Any:
        test = pytest.mark.parametrize("check", [one(name) for name in check_names()])(test)
        return pytest.mark.parametrize("implementation", implementations)(test)

    return decorate
