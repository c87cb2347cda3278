"""All checks of an implementation, and one cause for as many failures as possible.

An implementation is any object with some of the methods of
:class:`~kkt_ref.conformance.questions.Implementation`, which take and return NumPy arrays.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from kkt_ref._validation import check_count, check_dtype, check_positive
from kkt_ref.conformance.check import Check, method_of
from kkt_ref.conformance.questions import QUESTIONS
from kkt_ref.conformance.result import ConformanceError, Result

RARELY = 5  # a cause that explains less than a fifth of the failures does so by chance
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
) -> list[Result]:
    """Check an implementation against the definitions by autograd.

    Parameters
    ----------
    implementation : object
        It has at least one of the methods of :class:`Implementation`.
    dtype : {float64, float32}
        The dtype of the arrays that its methods get and must return.
    tolerance : float, optional
        The largest relative error, > 0; 1e-10 in float64 and 1e-5 in float32 unless given.
    expected_failures : mapping of str to str, optional
        Names of checks, as in :func:`check_names`, and reasons why they must fail.
    on_fail : {"raise", "return"}
        What to do if a check fails: raise an error, or return the results all the same.
    seed : int
        Draws the inputs, ≥ 0.

    Returns
    -------
    list of Result
        One for each check; methods that are missing or raise NotImplementedError are skipped.

    Raises
    ------
    ConformanceError
        If a check fails and ``on_fail`` is "raise".
    """
    checks = all_checks(dtype, seed, tolerance)
    if isinstance(implementation, type):
        raise ValueError(
            f"implementation: expected an object, got the class {implementation.__name__}; call it"
        )
    if not any(method_of(implementation, name) for name in QUESTIONS):
        raise ValueError(
            f"implementation: expected an object with at least one of the methods "
            f"{', '.join(QUESTIONS)}, but {implementation!r:.200} has none of them"
        )
    return judge(checks, lambda check: check.run(implementation), expected_failures, on_fail)


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
) -> Callable[[Any], Any]:
    """Return a pytest decorator that makes one test of each implementation and check.

    The decorated test has the arguments ``implementation`` and ``check``, and calls
    ``check(implementation)``, which raises :class:`ConformanceError` or skips.

    Parameters
    ----------
    implementations, dtype, expected_failures
        As in :func:`check_implementation`; the checks that should fail are marked as xfail.
    """
    import pytest

    reasons, params = _reasons(expected_failures), []
    for check in all_checks(dtype, 0):
        reason = reasons.get(check.name)
        marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True)]
        params.append(pytest.param(check, marks=marks, id=check.name))

    def decorate(test: Any) -> Any:
        test = pytest.mark.parametrize("check", params)(test)
        return pytest.mark.parametrize("implementation", implementations)(test)

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
        cases = question.cases(dtype, seed)
        shared = cases[0], tolerance, dtype, seed
        checks += [Check(question, case, *shared) for case in cases]
        other = question.cases(dtype, seed + 1)[0]
        checks.append(Check(question, cases[0]._replace(**MEMORY), *shared, other))
    return checks


def judge(
    checks: list[Check],
    result_of: Callable[[Check], Result],
    expected_failures: Mapping[str, str] | None,
    on_fail: str,
) -> list[Result]:
    """Return the results of checks, with one cause for as many failures as possible."""
    reasons = _reasons(expected_failures)
    if on_fail not in ("raise", "return"):
        raise ValueError(f"on_fail: expected 'raise' or 'return', got {on_fail!r}")
    results = []
    for _, group in groupby(checks, lambda check: check.question.name):
        of_question = list(group)
        results += _settled(of_question, list(map(result_of, of_question)))
    statuses = {"failed": "expected failure", "passed": "unexpected pass"}
    for place, (name, status, *_) in enumerate(results):
        if name in reasons and status in statuses:
            results[place] = results[place]._replace(
                status=statuses[status], diagnosis=reasons[name]
            )
    if on_fail == "raise" and any(result.bad for result in results):
        raise ConformanceError(results)
    return results


def _settled(checks: list[Check], results: list[Result]) -> list[Result]:
    """Choose the causes in the results of one question.

    Several mistakes may give the same answer in one case, and one may do so by chance.  So a
    cause counts only if it explains a fifth of the failures of a question, and twice as many
    answers as speak against it: right ones that it would spoil, and wrong ones that it would make
    wrong in another way.
    """
    votes = Counter(cause for result in results for cause in result.causes)
    doubtful = {cause for cause in votes if cause.doubtful}
    for cause in doubtful:
        if votes[cause] * RARELY < sum(bool(result.causes) for result in results):
            votes[cause] = 0
    for check, result in zip(checks, results, strict=True):
        if check.other is None and not np.isnan(result.error):
            for cause in doubtful.difference(result.causes):
                votes[cause] -= 2 * check.is_spoiled_by(cause)
    settled = []
    for result in results:
        causes = [cause for cause in result.causes if not cause.doubtful or votes[cause] > 0]
        named = [cause for cause in causes if cause.source != "known"] or causes
        most = max((votes[cause] for cause in named), default=0)
        diagnosis = ", or ".join(str(cause) for cause in named if votes[cause] == most)
        if causes:
            result = result._replace(diagnosis=diagnosis, causes=tuple(causes))
        settled.append(result)
    return settled


def _reasons(expected_failures: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the expected failures, or raise if one of them is no check."""
    reasons = {} if expected_failures is None else expected_failures
    if not isinstance(reasons, Mapping) or reasons.keys() - set(check_names()):
        raise ValueError(
            "expected_failures: expected a mapping of names from check_names() to reasons, got "
            f"{reasons!r:.300}"
        )
    return reasons
