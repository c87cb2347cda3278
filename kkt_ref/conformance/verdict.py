"""All checks of an implementation."""

import difflib
import fnmatch
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from kkt_ref._validation import check_count, check_dtype, check_kind, check_positive
from kkt_ref.conformance.causes import settled
from kkt_ref.conformance.check import Check, method_of
from kkt_ref.conformance.questions import QUESTIONS
from kkt_ref.conformance.result import ConformanceError, Result

TOLERANCES = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}
MEMORY: dict[str, Any] = {
    "name": "no memory",
    "meaning": "no state is kept between calls, and no answer shares memory with another",
}


def check_implementation(
    implementation: object,
    *,
    dtype: Any = np.float64,
    tolerance: float | None = None,
    expected_failures: Mapping[str, str] | None = None,
    on_fail: str = "raise",
    seed: int = 0,
    time_limit: float | None = None,
    progress: Callable[[str], Any] | None = None,
) -> list[Result]:
    """Check whether the answers of an implementation are those of the definition.

    Parameters
    ----------
    implementation : object
        It has at least one of the methods of :class:`Implementation`.
    dtype : {float64, float32}
        The dtype of the arrays that its methods get and must return.
    tolerance : float, optional
        The largest relative error, > 0; 1e-10 in float64 and 1e-5 in float32 unless given.
    expected_failures : mapping of str to str, optional
        Names of checks, as in :func:`check_names`, and reasons why they must fail or remain
        unanswered.  A star in a name stands for any text: "*: softplus*".
    on_fail : {"raise", "return"}
        What to do if a check fails: raise an error, or return the results all the same.
    seed : int
        Draws the inputs, ≥ 0.
    time_limit : float, optional
        Seconds, > 0, after which no further check begins.
    progress : callable, optional
        It is called with the name of each check before the check begins.

    Returns
    -------
    list of Result
        One for each check.  Those of a method that is missing are skipped; a case of another
        method that raises NotImplementedError, or for which no time is left, is unanswered.

    Raises
    ------
    ConformanceError
        If a check fails or is unanswered, and ``on_fail`` is "raise".
    """
    checks = all_checks(dtype, seed, tolerance)
    if isinstance(implementation, type):
        raise ValueError(
            f"implementation: expected an object, got the class {implementation.__name__}; call it"
        )
    offered = [name for name in QUESTIONS if method_of(implementation, name)]
    if not offered:
        raise ValueError(
            f"implementation: expected an object with at least one of the methods "
            f"{', '.join(QUESTIONS)}, but {implementation!r:.200} has none of them"
        )
    for name in dir(implementation):
        meant = difflib.get_close_matches(name, QUESTIONS.keys() - {*offered}, 1, 0.85)
        if meant and name not in QUESTIONS and name[0] != "_":
            raise ValueError(
                f"implementation: expected the name {meant[0]}, got {name}; rename it, or let it "
                "begin with an underscore if it is no answer"
            )
    limit = np.inf if time_limit is None else check_positive(time_limit, "time_limit")
    end = time.monotonic() + limit

    def result_of(check: Check) -> Result:
        if time.monotonic() > end and check.question.name in offered:
            return check.result("unanswered", diagnosis=f"the limit of {limit:g} s is over")
        if progress is not None:
            progress(check.name)
        return check.asked(implementation)

    return judge(checks, result_of, expected_failures, on_fail)


def check_names() -> list[str]:
    """Return the names of all checks, such as "stationarity: plain"."""
    return [check.name for check in all_checks(np.float64, 0)]


def get_check(
    name: str, *, dtype: Any = np.float64, seed: int = 0, tolerance: float | None = None
) -> Check:
    """Return one check, to repeat it and to look at its numbers.

    It has ``arguments``, those of the method, the ``right`` arrays, and ``run(implementation)``,
    which returns the :class:`Result`.

    Parameters
    ----------
    name : str
        One of :func:`check_names`.
    dtype, seed, tolerance
        As in :func:`check_implementation`.
    """
    for check in all_checks(dtype, seed, tolerance):
        if check.name == name:
            return check
    raise ValueError(f"name: expected one of check_names(), got {name!r}")


def parametrize_with_checks(
    implementations: Sequence[object],
    *,
    dtype: Any = np.float64,
    expected_failures: Mapping[str, str] | None = None,
    seed: int = 0,
    tolerance: float | None = None,
) -> Callable[[Any], Any]:
    """Return a pytest decorator that makes one test of each implementation and check.

    The decorated test has the arguments ``implementation`` and ``check``, and calls
    ``check(implementation)``, which raises :class:`ConformanceError` or skips.

    Parameters
    ----------
    implementations, dtype, expected_failures, seed, tolerance
        As in :func:`check_implementation`; the checks that should fail are marked as xfail.
    """
    import pytest

    reasons, params = _reasons(expected_failures), []
    for check in all_checks(dtype, seed, tolerance):
        reason = reasons.get(check.name)
        marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]
        params.append(pytest.param(check, marks=marks, id=check.name))

    def decorate(test: Any) -> Any:
        test = pytest.mark.parametrize("check", params)(test)
        names = [getattr(i, "__name__", type(i).__name__) for i in implementations]
        return pytest.mark.parametrize("implementation", implementations, ids=names)(test)

    return decorate


def all_checks(dtype: Any, seed: int, tolerance: float | None = None) -> list[Check]:
    """Return the checks of all questions, or raise if an argument is not as it should be."""
    dtype, seed = check_dtype(dtype), check_count(seed, "seed", 0)
    tolerance = TOLERANCES[dtype] if tolerance is None else check_positive(tolerance, "tolerance")
    return list(_drawn_checks(dtype, seed, tolerance))


@lru_cache(maxsize=4)
def _drawn_checks(dtype: np.dtype, seed: int, tolerance: float) -> list[Check]:
    checks: list[Check] = []
    for question in QUESTIONS.values():
        cases, group = question.cases(dtype, seed), list[Check]()
        shared = tolerance, dtype, seed
        group += [Check(question, case, *shared, group=group.copy) for case in cases]
        other = question.cases(dtype, seed + 1)[0]
        group.append(Check(question, cases[0]._replace(**MEMORY), *shared, other, group.copy))
        checks += group
    return checks


def judge(
    checks: list[Check],
    result_of: Callable[[Check], Result],
    expected_failures: Mapping[str, str] | None,
    on_fail: str,
) -> list[Result]:
    """Return the results of checks, with one cause for as many failures as possible.

    The checks of a question follow each other, that of its first case before the others.
    """
    reasons = _reasons(expected_failures)
    if on_fail not in ("raise", "return"):
        raise ValueError(f"on_fail: expected 'raise' or 'return', got {on_fail!r}")
    results = []
    for _, group in groupby(checks, lambda check: check.question.name):
        of_question = list(group)
        results += settled(of_question, list(map(result_of, of_question)))
    statuses = {"passed": "unexpected pass"}
    statuses |= dict.fromkeys(("failed", "unanswered"), "expected failure")
    for place, result in enumerate(results):
        if result.name in reasons and (status := statuses.get(result.status)):
            results[place] = result._replace(status=status, diagnosis=reasons[result.name])
    if on_fail == "raise" and any(result.bad for result in results):
        raise ConformanceError(results)
    return results


def _reasons(expected_failures: Mapping[str, str] | None) -> dict[str, str]:
    """Return the expected failures by the names of checks, or raise if one of them is no check."""
    given = {} if expected_failures is None else expected_failures
    check_kind(given, Mapping, "expected_failures")
    names, reasons = check_names() if given else [], {}
    for pattern, reason in given.items():
        found = fnmatch.filter(names, str(pattern))
        if not found:
            near = difflib.get_close_matches(str(pattern), names, 1, 0)[0]
            raise ValueError(
                f"expected_failures: expected names from check_names(), got {pattern!r}; the "
                f"nearest is {near!r}"
            )
        reasons |= dict.fromkeys(found, reason)
    return reasons
