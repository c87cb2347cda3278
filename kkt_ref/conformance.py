"""Is another implementation right?  The kit asks it the same questions as this library.

An implementation is any object with some of the methods of :class:`Implementation`,
NumPy arrays in and out.  Each of its answers is compared with autograd's, norm-wise for
each array.  For one that is wrong the kit tries the known wrong conventions and says
which of them gives that answer (:mod:`kkt_ref.conformance_causes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from kkt_ref.conformance_cases import Case, cases
from kkt_ref.conformance_causes import Answer, diagnose, reference
from kkt_ref.mlp import MLP

Array = np.ndarray
TOLERANCES = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}
FUNCTIONS = ("outputs", "per_sample_gradients", "stationarity_residual", "stationarity")
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
EXPECTED, UNEXPECTED = "expected failure", "unexpected pass"


class Implementation(Protocol):
    """What the kit can ask; leave out what there is not, or raise NotImplementedError.

    ``net`` holds plain arrays: ``net.weights[l]`` is (h_{l+1}, h_l), ``net.biases[l]`` is
    (h_{l+1},) or None; ``net.activation`` is ``ReLU()``, ``GatedReLU(alpha)`` or
    ``Softplus(alpha)``.  Flat gradients are in the order W_1, b_1, W_2, ...
    """

    def outputs(self, net: MLP, x: Array) -> Array:
        """Return Φ(θ; x_i), shape (n,)."""

    def per_sample_gradients(self, net: MLP, x: Array) -> Array:
        """Return ∇θΦ(θ; x_i), shape (n, P)."""

    def stationarity_residual(self, net: MLP, x: Array, y: Array, multipliers: Array) -> Array:
        """Return θ − Σ_i λ_i y_i ∇θΦ(θ; x_i), shape (P,)."""

    def stationarity(
        self, net: MLP, x: Array, y: Array, multipliers: Array
    ) -> tuple[float, Array, Array]:
        """Return its squared norm and the gradients in x, (n, d), and λ, (n,)."""


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
    return [f"{function}: {case.name}" for function in FUNCTIONS for case in cases()] + [
        f"{function}: no memory" for function in FUNCTIONS
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
    dtype = np.dtype(dtype)
    if dtype not in TOLERANCES:
        raise ValueError(f"dtype: expected float64 or float32, got {dtype}")
    if on_fail not in ("raise", "return"):
        raise ValueError(f"on_fail: expected 'raise' or 'return', got {on_fail!r}")
    if not any(callable(getattr(implementation, name, None)) for name in FUNCTIONS):
        raise ValueError(
            f"implementation: expected an object with methods {', '.join(FUNCTIONS)}, got "
            f"{implementation!r}, which has none of them"
        )
    expected = dict(expected_failures or {})
    unknown = sorted(expected.keys() - set(check_names()))
    if unknown:
        raise ValueError(f"expected_failures: there are no checks named {unknown}")
    results = []
    for function in FUNCTIONS:
        for case in cases(dtype, seed):
            results.append(_check(implementation, function, case, expected))
        results.append(_check_memory(implementation, function, dtype, seed, expected))
    if on_fail == "raise" and any(result.bad for result in results):
        raise ConformanceError(results)
    return results


def arguments(function: str, case: Case) -> tuple[Any, ...]:
    """Return what a method is called with for a case."""
    return case[1:3] if function in FUNCTIONS[:2] else case[1:5]


def _check(implementation: Any, function: str, case: Case, expected: dict[str, str]) -> Result:
    name = f"{function}: {case.name}"
    tolerance = TOLERANCES[case.x.dtype]
    right = reference(function, case)
    answer, problem = _ask(implementation, function, case, right)
    if answer is None and not problem:
        return Result(name, SKIPPED, float("nan"), tolerance, case.meaning, "not implemented")
    error = float("nan")
    if not problem:
        error = _error(function, case, answer, right)
        if error > tolerance:
            problem = diagnose(function, case, answer, right, error, tolerance, _error)
    failed = bool(problem) or not error <= tolerance
    return _verdict(name, failed, error, tolerance, case.meaning, problem, expected)


def _check_memory(
    implementation: Any, function: str, dtype: Any, seed: int, expected: dict[str, str]
) -> Result:
    """One case before and after another: nothing may be remembered or changed in place."""
    name, tolerance = f"{function}: no memory", TOLERANCES[dtype]
    case, other = cases(dtype, seed)[0], cases(dtype, seed + 1)[0]
    copies = [np.copy(a) for a in (*case.net.arrays, case.x, case.y, case.multipliers)]
    meaning = "state from an earlier call, or arguments changed in place"
    first, problem = _ask(implementation, function, case, reference(function, case))
    if first is None:
        status = FAILED if problem else SKIPPED
        return Result(name, status, float("nan"), tolerance, meaning, problem or "not implemented")
    right = reference(function, other)
    second, problem = _ask(implementation, function, other, right)
    error = float("nan")
    if not problem:
        after = [*case.net.arrays, case.x, case.y, case.multipliers]
        if not all(np.array_equal(a, b) for a, b in zip(copies, after, strict=True)):
            problem = "an argument was changed in place"
        else:
            error = _error(function, other, second, right)
            if error > tolerance and _error(function, other, first, second) == 0.0:
                problem = "the second call returned the first one's answer: a stale cache"
    failed = bool(problem) or not error <= tolerance
    return _verdict(name, failed, error, tolerance, meaning, problem, expected)


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


def _ask(implementation: Any, function: str, case: Case, expected: Answer) -> tuple[Any, str]:
    """The answer as a tuple of arrays and "", or None and what is wrong with it."""
    method = getattr(implementation, function, None)
    if not callable(method):
        return None, ""
    try:
        answer = method(*arguments(function, case))
    except NotImplementedError:
        return None, ""
    except Exception as error:  # whatever it raises is a failure of its own
        return None, f"it raised {type(error).__name__}: {error}"
    answer = answer if function == "stationarity" else (answer,)
    if not isinstance(answer, (tuple, list)) or len(answer) != len(expected):
        return None, f"expected {len(expected)} values, got {type(answer).__name__}"
    arrays = tuple(np.asarray(part) for part in answer)
    for part, wanted in zip(arrays, expected, strict=True):
        if part.shape != wanted.shape:
            return None, f"expected shape {wanted.shape}, got {part.shape}"
        if wanted.ndim and part.dtype != case.x.dtype:
            return None, f"expected dtype {case.x.dtype}, got {part.dtype}"
        if not np.all(np.isfinite(part)):
            return None, "expected finite values, got NaN or infinity"
    return arrays, ""


def _error(
    function: str, case: Case, answer: tuple[Array, ...], wanted: tuple[Array, ...]
) -> float:
    """Worst relative norm-wise error over the arrays that an answer is made of."""
    if function in ("per_sample_gradients", "stationarity_residual"):
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
            if label == "no memory":
                result = _check_memory(implementation, function, np.dtype(dtype), 0, {})
            else:
                case = next(case for case in cases(dtype) if case.name == label)
                result = _check(implementation, function, case, {})
            if result.status == SKIPPED:
                pytest.skip(result.diagnosis)
            if result.bad:
                raise ConformanceError([result])

        return pytest.param(check, id=name)

    def decorate(test: Any) -> Any:
        test = pytest.mark.parametrize("check", [one(name) for name in check_names()])(test)
        return pytest.mark.parametrize("implementation", implementations)(test)

    return decorate
