"""Is another implementation right?  The kit compares its answers with those of autograd.

An implementation is any object with some of the methods of :class:`Implementation`, which
take and return NumPy arrays.  If an answer is wrong, the kit tries the known mistakes and says
which of them gives exactly this answer (:mod:`kkt_ref.conformance.diagnose`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kkt_ref._validation import check_count, check_dtype
from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.diagnose import diagnosis_of
from kkt_ref.conformance.questions import QUESTIONS, Answer, Question

Array = np.ndarray
TOLERANCES = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}
NO_MEMORY = "no state is kept between calls and no argument is changed"
STALE = "the second call returned the answer of the first one: a stale cache"


class Result(NamedTuple):
    """The result of one check."""

    name: str  # "question: case"
    status: str  # passed, failed, skipped, expected failure or unexpected pass
    error: float  # largest relative error over the arrays; NaN if there is none to measure
    tolerance: float
    meaning: str  # what the check tests
    diagnosis: str  # the mistake, if it is known

    @property
    def bad(self) -> bool:
        """Whether this result speaks against the implementation."""
        return self.status in ("failed", "unexpected pass")

    def __str__(self) -> str:
        """Return the result as one line of text."""
        error = "" if np.isnan(self.error) else f"error {self.error:.1e}; "
        return f"{self.status:8} {self.name}: {error}{self.diagnosis or self.meaning}"


class ConformanceError(AssertionError):
    """An implementation failed checks.  ``results`` holds the results of all checks."""

    def __init__(self, results: list[Result]) -> None:
        self.results = results
        bad = [str(result) for result in results if result.bad]
        super().__init__("\n".join([f"{len(bad)} of {len(results)} checks failed", *bad]))


def check_implementation(
    implementation: Any,
    *,
    dtype: Any = np.float64,
    expected_failures: Mapping[str, str] | None = None,
    on_fail: str = "raise",
    seed: int = 0,
) -> list[Result]:
    """Check an implementation against the definitions by autograd.

    Parameters
    ----------
    implementation : object
        It has at least one of the methods of :class:`Implementation`.
    dtype : {float64, float32}
        The dtype of the arrays that its methods get and must return.  The largest relative
        error allowed is 1e-10 in float64 and 1e-5 in float32.
    expected_failures : mapping of str to str, optional
        Names of checks that are known to fail, as :func:`check_names` lists them, with the
        reasons.  It counts as a failure if such a check passes.
    on_fail : {"raise", "return"}
        What to do if a check fails: raise an error, or return the results all the same.
    seed : int
        Draws the inputs, ≥ 0.

    Returns
    -------
    list of Result
        One for each check.  Checks of methods that are missing, or that raise
        NotImplementedError, have the status "skipped".

    Raises
    ------
    ConformanceError
        If a check fails and ``on_fail`` is "raise".
    ValueError, TypeError
        If ``implementation`` has none of the methods, or another argument is not one of the
        values above.

    Notes
    -----
    Source: this library.
    """
    dtype, seed = check_dtype(dtype), check_count(seed, "seed", 0)
    if on_fail not in ("raise", "return"):
        raise ValueError(f"on_fail: expected 'raise' or 'return', got {on_fail!r}")
    if not any(callable(getattr(implementation, name, None)) for name in QUESTIONS):
        raise ValueError(
            f"implementation: expected an object with at least one of the methods "
            f"{', '.join(QUESTIONS)}, but {implementation!r} has none of them"
        )
    expected = {} if expected_failures is None else expected_failures
    if not isinstance(expected, Mapping) or not expected.keys() <= set(check_names()):
        raise ValueError(
            "expected_failures: expected a mapping of names from check_names() to reasons, got "
            f"{expected!r}"
        )
    results = [check.run(implementation, expected) for check in _all_checks(dtype, seed)]
    if on_fail == "raise" and any(result.bad for result in results):
        raise ConformanceError(results)
    return results


def check_names() -> list[str]:
    """Return the names of all checks, such as "stationarity: plain"."""
    return [check.name for check in _all_checks(np.dtype(np.float64), 0)]


def parametrize_with_checks(implementations: list[Any], *, dtype: Any = np.float64) -> Any:
    """Return a pytest decorator that makes one test of each implementation and check.

    The decorated test has the arguments ``implementation`` and ``check``, and calls
    ``check(implementation)``, which raises :class:`ConformanceError` or skips.

    Parameters
    ----------
    implementations : list of objects
        As in :func:`check_implementation`.
    dtype : {float64, float32}
        As in :func:`check_implementation`.

    Returns
    -------
    decorator

    Raises
    ------
    ValueError
        If ``dtype`` is another one.
    """
    import pytest

    checks = _all_checks(check_dtype(dtype), 0)

    def decorate(test: Any) -> Any:
        test = pytest.mark.parametrize("check", checks, ids=[check.name for check in checks])(test)
        return pytest.mark.parametrize("implementation", implementations)(test)

    return decorate


class _UnusableAnswer(Exception):
    """The implementation raised an error, or its answer has the wrong form."""


@dataclass(frozen=True)
class _Check:
    """One question about one case, or about two in a row to see that no state is kept."""

    name: str
    question: Question
    cases: list[Case]
    dtype: np.dtype

    def __call__(self, implementation: Any) -> None:
        """Run the check as a test of pytest."""
        import pytest

        result = self.run(implementation, {})
        if result.status == "skipped":
            pytest.skip(result.diagnosis)
        if result.bad:
            raise ConformanceError([result])

    def run(self, implementation: Any, expected: Mapping[str, str]) -> Result:
        """Return the result; ``expected`` maps names of checks to reasons of failure."""
        tolerance, error = TOLERANCES[self.dtype], float("nan")
        meaning = self.cases[0].meaning if len(self.cases) == 1 else NO_MEMORY
        try:
            error, problem = self._measure(implementation, tolerance)
        except NotImplementedError:
            return Result(self.name, "skipped", error, tolerance, meaning, "not implemented")
        except _UnusableAnswer as unusable:
            problem = str(unusable)
        failed = bool(problem) or not error <= tolerance
        status = "failed" if failed else "passed"
        if self.name in expected:
            status = "expected failure" if failed else "unexpected pass"
            problem = expected[self.name]
        return Result(self.name, status, error, tolerance, meaning, problem)

    def _measure(self, implementation: Any, tolerance: float) -> tuple[float, str]:
        """Return the error of the last answer, and what is wrong if that is known."""
        given = [np.copy(array) for array in _arrays(self.cases[0])]
        pairs = [self._ask(implementation, case) for case in self.cases]
        case, (answer, right) = self.cases[-1], pairs[-1]
        two_calls = len(pairs) == 2
        if two_calls and not all(map(np.array_equal, given, _arrays(self.cases[0]))):
            raise _UnusableAnswer("an argument was changed in place")
        error = self.question.error(case, answer, right)
        if error <= tolerance:
            return error, ""
        if not two_calls:
            return error, diagnosis_of(self.question, case, answer, right, tolerance)
        stale = self.question.error(case, pairs[0][0], answer) == 0.0
        return error, STALE if stale else ""

    def _ask(self, implementation: Any, case: Case) -> tuple[Answer, Answer]:
        """Return the answer of an implementation and the right one, both of the same form."""
        method = getattr(implementation, self.question.name, None)
        if not callable(method):
            raise NotImplementedError
        right = self.question.reference(case)
        try:
            answer = method(*self.question.arguments(*case.inputs))
        except NotImplementedError:
            raise
        except Exception as error:  # any error is a failure of the implementation
            raise _UnusableAnswer(f"it raised {type(error).__name__}: {error}") from error
        answer = answer if len(right) > 1 else (answer,)
        if not isinstance(answer, (tuple, list)) or len(answer) != len(right):
            raise _UnusableAnswer(f"expected {len(right)} values, got {type(answer).__name__}")
        arrays = tuple(map(np.asarray, answer))
        for part, wanted in zip(arrays, right, strict=True):
            if part.shape != wanted.shape:
                raise _UnusableAnswer(f"expected shape {wanted.shape}, got {part.shape}")
            if wanted.ndim and part.dtype != self.dtype:
                raise _UnusableAnswer(f"expected dtype {self.dtype}, got {part.dtype}")
            if not np.all(np.isfinite(part)):
                raise _UnusableAnswer("expected finite values, got NaN or infinity")
        return arrays, right


def _all_checks(dtype: np.dtype, seed: int) -> list[_Check]:
    checks = []
    for name, question in QUESTIONS.items():
        found = question.cases(dtype, seed)
        checks += [_Check(f"{name}: {case.name}", question, [case], dtype) for case in found]
        two = [found[0], question.cases(dtype, seed + 1)[0]]
        checks.append(_Check(f"{name}: no memory", question, two, dtype))
    return checks


def _arrays(case: Case) -> list[Array]:
    net_arrays = getattr(case.inputs[0], "arrays", case.inputs[:1])  # images have no network
    return [*net_arrays, *case.inputs[1:]]
