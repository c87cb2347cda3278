"""The conformance kit catches planted bugs and names them."""

import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import kkt_ref
from kkt_ref.__main__ import main
from kkt_ref.conformance import (
    ConformanceError,
    Implementation,
    check_implementation,
    check_names,
    get_check,
    parametrize_with_checks,
)
from kkt_ref.conformance.cases import cases
from kkt_ref.conformance.fast import gradient_matrix
from kkt_ref.metrics.ssim import SSIMSettings, structural_similarity
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.problems import RunnerUp


TWO_CLASSES = cases("two_classes", np.float64, 0)


class Right:
    """Our closed form."""

    def outputs(self, net, x):
        return closed_form.forward(net, x).outputs

    def per_sample_gradients(self, net, x):
        return gradient_matrix(net, x)

    def stationarity_residual(self, net, x, y, multipliers):
        return net.theta - (multipliers * y) @ gradient_matrix(net, x)

    def stationarity(self, net, x, y, multipliers):
        terms = closed_form.stationarity_and_gradient(net, x, y, multipliers, (1.0,) * net.depth)
        return terms.value, terms.grad_x, terms.grad_multipliers

    def kkt_conditions(self, net, x, y, multipliers, margin):
        report = kkt_ref.kkt_report(net, x, y, multipliers, margin=margin)
        return (
            report.stationarity.relative,
            report.primal_feasibility,
            report.dual_feasibility,
            report.complementary_slackness,
        )

    def training_step(self, net, x, y, step):
        return kkt_ref.gradient_descent(net, x, y, step=step, max_steps=1).net.theta

    def class_outputs(self, net, x):
        return closed_form.forward(net, x).outputs

    class_stationarity, class_kkt_conditions = stationarity, kkt_conditions

    def ssim(self, a, b):
        return structural_similarity(a, b, data_range=1.0, channel_axis=0)


class Autograd(Right):
    """Our definition."""

    def per_sample_gradients(self, net, x):
        return kkt_ref.per_sample_gradients(net, x)

    def stationarity(self, net, x, y, multipliers):
        return kkt_ref.stationarity_by_autograd(net, x, y, multipliers)


@pytest.mark.parametrize(
    "implementation, dtype",
    [(Right(), np.float64), (Right(), np.float32), (Autograd(), np.float64)],
)
def test_our_own_paths_pass(implementation, dtype):
    results = check_implementation(implementation, dtype=dtype)
    assert {result.status for result in results} == {"passed"}
    assert [result.name for result in results] == check_names()


class HalfAtZero(kkt_ref.ReLU):
    def slope(self, z, xp):
        return 0.5 * ((z > 0).astype(z.dtype) + (z >= 0))

    gate = slope


class Throughout(kkt_ref.GatedReLU):
    gate_is_slope = True

    def slope(self, z, xp):
        return self.gate(z, xp)


class Detached(kkt_ref.GatedReLU):
    def gate_slope(self, gate):
        return 0.0 * gate


# A change takes the right method and its arguments, and returns the wrong answer.
def in_network(change):
    return lambda right, net, *rest: right(change(net), *rest)


def in_sum(change):
    """The labels and multipliers are changed; the third value is ∂(changed λ)/∂λ."""

    def answer(right, net, x, y, lam):
        y, lam, slope = change(y, lam)
        value, grad_x, grad_lam = right(net, x, y, lam)
        return value, grad_x, slope * grad_lam

    return answer


def in_answer(change):
    return lambda right, *given: change(*right(*given))


def activation(kind, make):
    """Every activation of a kind is replaced by make(alpha)."""

    def change(net):
        if not isinstance(net.activation, kind):
            return net
        return net.with_activation(make(getattr(net.activation, "alpha", None)))

    return in_network(change)


def transposed(net):
    square = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    return replace(net, weights=square)


def no_biases(net):
    zero = [None if b is None else 0 * b for b in net.biases]
    return replace(net, biases=zero)


def only_weights(right, net, x):
    return right(net, x) * np.concatenate([np.full(p.size, p.ndim == 2) for p in net.arrays])


def in_float32(right, *given):
    return [np.asarray(part, np.float64) for part in right(*(g.astype(np.float32) for g in given))]


def without_layer(layer):
    def answer(right, net, x, y, lam):
        weights = np.ones(net.depth)
        weights[min(layer, net.depth - 1)] = net.depth == 1
        terms = closed_form.stationarity_and_gradient(net, x, y, lam, weights)
        return terms.value, terms.grad_x, terms.grad_multipliers

    return answer


def not_relative(right, net, *rest):
    stationarity, *others = right(net, *rest)
    return stationarity * np.linalg.norm(net.theta), *others


def similarity(**settings):
    return lambda right, a, b: structural_similarity(
        a, b, **{"data_range": 1.0, "channel_axis": 0} | settings
    )


def runner_up(net, x, y, lam):
    terms = closed_form.stationarity_and_gradient(net, x, y, lam.sum(axis=1), problem=RunnerUp())
    return terms.value, terms.grad_x, np.repeat(terms.grad_multipliers[:, None], net.K, axis=1)


RELU, GATED = kkt_ref.ReLU, kkt_ref.GatedReLU
STATIONARITY = {  # name: (change, diagnosis)
    "sign of y": (in_sum(lambda y, lam: (-y, lam, 1)), "y has the opposite sign"),
    "y left out": (in_sum(lambda y, lam: (np.abs(y), lam, 1)), "y is left out"),
    "y in 0, 1": (in_sum(lambda y, lam: ((y + 1) / 2, lam, 1)), "taken as 0 and 1"),
    "1/m": (in_sum(lambda y, lam: (y, lam / len(y), 1 / len(y))), "divided by m"),
    "λ squared": (in_sum(lambda y, lam: (y, lam**2, 2 * lam)), "λ is squared"),
    "relu'(0) = 1/2": (activation(RELU, lambda alpha: HalfAtZero()), "is taken as 0.5"),
    "transposed": (in_network(transposed), r"\(in, out\)"),
    "bias not added": (in_network(no_biases), "biases are not added"),
    "layer 1 left out": (without_layer(0), "layer 1 is left out"),
    "layer 2 left out": (without_layer(1), "layer 2 is left out"),
    "σ in every backward": (activation(GATED, Throughout), "every backward pass"),
    "gates detached": (activation(GATED, Detached), "derivative of the gates is left out"),
    "softplus for gates": (activation(GATED, kkt_ref.Softplus), "softplus is used"),
    "hard gates": (activation(GATED, lambda alpha: RELU()), "the gates are hard"),
    "float32 inside": (in_float32, "computed or rounded in float32"),
    "detached from x": (in_answer(lambda v, gx, gl: (v, 0 * gx, gl)), "detached from x"),
    "halved": (
        in_answer(lambda *parts: [part / 2 for part in parts]),
        "1/2 times the right one",
    ),
    "norm not squared": (
        in_answer(lambda v, gx, gl: (v**0.5, gx / 2 / v**0.5, gl / 2 / v**0.5)),
        "not squared",
    ),
    "mean over parameters": (
        lambda right, net, *rest: [part / net.theta.size for part in right(net, *rest)],
        "is 1/P times",
    ),
    "opposite gradients": (
        in_answer(lambda v, gx, gl: (v, -gx, -gl)),
        "grad_x and grad_multipliers are -1 times",
    ),
    "only ∂λ wrong": (
        in_answer(lambda v, gx, gl: (v, gx, 1.1 * gl)),
        "grad_multipliers is 1.1 times the right one; the rest",
    ),
}
OTHERS = {  # name: (method, change, diagnosis)
    "biases left out": ("per_sample_gradients", only_weights, "the biases are left out"),
    "negative residual": (
        "stationarity_residual",
        lambda right, *given: -right(*given),
        "the answer is -1 times",
    ),
    "conditions not relative": ("kkt_conditions", not_relative, "not divided by ‖θ‖"),
    "dual feasibility forgotten": (
        "kkt_conditions",
        in_answer(
            lambda stationarity, primal, dual, slackness: (stationarity, primal, 0, slackness)
        ),
        "dual_feasibility is 0; the rest is right",
    ),
    "q is 1": ("kkt_conditions", lambda right, *given: right(*given[:-1], 1.0), "q is taken as 1"),
    "summed loss": (
        "training_step",
        lambda right, net, x, y, step: right(net, x, y, step * len(y)),
        "summed, not averaged",
    ),
    "ascent": (
        "training_step",
        lambda right, net, *rest: 2 * net.theta - right(net, *rest),
        "the step goes up",
    ),
    "scikit-image's default window": (
        "ssim",
        similarity(settings=SSIMSettings(window="uniform", size=7, sample_covariance=True)),
        "uniform, 7 by 7",
    ),
    "range of 255": ("ssim", similarity(data_range=255.0), "data_range is 255"),
    "classes: 1/m": (
        "class_stationarity",
        lambda right, net, x, y, lam: (lambda v, gx, gl: (v, gx, gl / len(y)))(
            *right(net, x, y, lam / len(y))
        ),
        "the sum is divided by m",
    ),
    "classes: runner-up": (
        "class_stationarity",
        lambda right, net, x, y, lam: runner_up(net, x, y, lam),
        "only the runner-up is pushed away",
    ),
    "classes: no biases": (
        "class_outputs",
        lambda right, net, x: right(no_biases(net), x),
        "biases are not added",
    ),
    "classes: q is 1": (
        "class_kkt_conditions",
        lambda right, *given: right(*given[:-1], 1.0),
        "q is taken as 1",
    ),
}
MUTANTS = {name: ("stationarity", *mutant) for name, mutant in STATIONARITY.items()} | OTHERS


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bugs_are_caught_and_named(name):
    method, change, diagnosis = MUTANTS[name]
    right = getattr(Right(), method)
    mutant = SimpleNamespace(**{method: lambda *given: change(right, *given)})
    with pytest.raises(ConformanceError, match=diagnosis) as caught:
        check_implementation(mutant)
    results = caught.value.results
    assert all(result.name.startswith(f"{method}: ") for result in results if result.bad)
    skipped = {result.name for result in results if result.status == "skipped"}
    others = {other for other in check_names() if not other.startswith(f"{method}: ")}
    assert others <= skipped <= others | {f"{method}: no memory"}


def test_one_line_a_cause_and_what_a_case_tests_apart():
    mutant = SimpleNamespace(
        stationarity=lambda *given: STATIONARITY["1/m"][0](Right().stationarity, *given)
    )
    with pytest.raises(ConformanceError) as caught:
        check_implementation(mutant)
    first, cause, failure, meaning, *_ = str(caught.value).splitlines()
    count = sum(result.bad for result in caught.value.results)
    assert first.startswith(f"{count} of ")
    assert cause == f"the cause: matches if the sum is divided by m: {count} of stationarity"
    assert failure.startswith("failed   stationarity: plain: error ") and "tests" not in failure
    assert meaning.strip() == "this case tests: the formula itself"


ORDERS = {
    "b_l before W_l": lambda net: [p for W, b in net.layers for p in (b, W)],
    "all W before all b": lambda net: [*net.weights, *net.biases],
    "all b before all W": lambda net: [*net.biases, *net.weights],
    "W in Fortran order": lambda net: [p for W, b in net.layers for p in (W.T, b)],
    "the layers reversed": lambda net: [p for layer in net.layers[::-1] for p in layer],
}


@pytest.mark.parametrize("said", ORDERS)
def test_other_orders_of_theta_are_named(said):
    def rows(net, x):
        right = gradient_matrix(net, x)
        parts = [net.with_theta(row) for row in right]
        ordered = [[p.ravel() for p in ORDERS[said](part) if p is not None] for part in parts]
        return np.stack([np.concatenate(row) for row in ordered])

    results = check_implementation(SimpleNamespace(per_sample_gradients=rows), on_fail="return")
    named = {result.diagnosis for result in results if result.bad}
    assert f"matches if θ has another order: {said}" in named
    assert all(said in diagnosis for diagnosis in named)


def test_a_cause_that_holds_in_one_case_by_chance_is_not_named():
    """All W in one piece, sorted by size: one layer has W before b in any order."""

    def rows(net, x):
        parts = [net.with_theta(row).arrays for row in gradient_matrix(net, x)]
        return np.stack([np.concatenate([*map(np.ravel, sorted(p, key=np.size))]) for p in parts])

    results = check_implementation(SimpleNamespace(per_sample_gradients=rows), on_fail="return")
    assert any(result.bad for result in results)
    assert not any("matches if" in result.diagnosis for result in results)


class Kept(Right):
    """Answers in a dictionary whose key forgets something."""

    def __init__(self, key):
        self.key, self.kept = key, {}

    def outputs(self, net, x):
        return self.kept.setdefault(self.key(net, x), Right.outputs(self, net, x))


class InPlace(Right):
    def outputs(self, net, x):
        found = Right.outputs(self, net, x)
        if not x.flags.c_contiguous:  # seen with such arrays only
            net.weights[0][...] *= 2.0
        return found


class Buffer(Right):
    def __init__(self):
        self.buffers = {}

    def outputs(self, net, x):
        buffer = self.buffers.setdefault(len(x), np.empty(len(x)))
        buffer[...] = Right.outputs(self, net, x)
        return buffer


class Adding(Right):
    shape, total = (), 0.0

    def ssim(self, a, b):
        self.total = self.total * (a.shape == self.shape) + Right.ssim(self, a, b)
        self.shape = a.shape
        return self.total


class Random(Right):
    rng = np.random.default_rng(0)

    def training_step(self, *given):
        return Right.training_step(self, *given) + 1e-10 * self.rng.normal()


STATES = {
    "shapes only": (Kept(lambda net, x: x.shape), "earlier call"),
    "x only": (Kept(lambda net, x: x.tobytes()), "stale cache"),
    "which objects": (Kept(lambda net, x: (id(net), id(x), len(x))), "stale cache|earlier call"),
    "in place": (InPlace(), "in place: net"),
    "a buffer": (Buffer(), "shares memory"),
    "a sum": (Adding(), "added to those of earlier calls"),
    "random numbers": (Random(), "two answers|is wrong|are wrong"),
}


@pytest.mark.parametrize("state", STATES)
def test_state_between_calls_is_caught(state):
    implementation, message = STATES[state]
    with pytest.raises(ConformanceError, match=message):
        check_implementation(implementation)


def test_memory_is_blamed_only_if_the_first_answer_is_right():
    half = SimpleNamespace(outputs=lambda net, x: Right().outputs(net, x) / 2)
    results = {r.name: r for r in check_implementation(half, on_fail="return")}
    assert results["outputs: no memory"].status == "skipped"
    assert "first answer is not right" in results["outputs: no memory"].diagnosis


class Tensor:
    """What PyTorch does with a tensor that requires a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda net, x: np.ones((len(x), 1)), r"expected shape \(7,\), got \(7, 1\)"),
        (lambda net, x: np.ones(len(x), np.float32), "expected dtype float64"),
        (lambda net, x: np.full(len(x), np.nan), "expected finite"),
        (lambda net, x: np.full(len(x), 1e300), "the answer is wrong"),
        (lambda net, x: 1 / 0, "raised ZeroDivisionError"),
        (lambda net, x: sys.exit(3), "raised SystemExit: 3"),
        (lambda net: 1, "raised TypeError"),
        (lambda net, x: None, "got None; a return is missing"),
        (lambda net, x: Tensor(), "which NumPy cannot read .*; detach it first"),
        (lambda net, x: [[1.0], [1.0, 2.0]], "which NumPy cannot read"),
        (lambda net, x: "text", "expected real numbers, got str"),
        (lambda net, x: {1: 2}, "expected real numbers, got dict"),
        (lambda net, x: np.ones(len(x)) * 1j, "expected real numbers"),
    ],
)
def test_whatever_comes_back_is_a_failed_check(answer, message):
    with pytest.raises(ConformanceError, match=message):
        check_implementation(SimpleNamespace(outputs=answer))


@pytest.mark.parametrize("answer, message", [(1.0, "got float"), ((1.0, 2.0), "got 2 values")])
def test_the_number_of_values_is_checked(answer, message):
    with pytest.raises(ConformanceError, match=f"of 3 values .value, grad_x, grad_.*{message}"):
        check_implementation(SimpleNamespace(stationarity=lambda *given: answer))


def test_three_lines_repeat_a_failure(capsys):
    with pytest.raises(ConformanceError) as caught:
        check_implementation(Doubled(), seed=5)
    bad = next(result for result in caught.value.results if result.bad)
    assert len(bad.repeat.splitlines()) == 3
    exec(bad.repeat, {"implementation": Doubled()})
    expected = get_check("outputs: plain", seed=5)
    shown = f"{Doubled().outputs(*expected.arguments)} {expected.right}\n"
    assert bad.name == "outputs: plain" and capsys.readouterr().out == shown
    assert expected.run(Doubled()).diagnosis == bad.diagnosis


class OnlyReLU:
    factor = 1

    def outputs(self, net, x):
        if net.activation.name != "relu":
            raise NotImplementedError
        return self.factor * Right().outputs(net, x)


class Doubled(OnlyReLU):
    factor = 2


def test_what_is_missing_is_skipped():
    status = {result.name: result.status for result in check_implementation(OnlyReLU())}
    assert status["outputs: plain"] == "passed" and status["outputs: softplus"] == "skipped"
    assert status["stationarity: plain"] == "skipped"


def test_expected_failures_are_expected():
    with pytest.raises(ConformanceError, match="unexpected pass"):
        check_implementation(OnlyReLU(), expected_failures={"outputs: plain": "known"})
    failing = {name: "known" for name in check_names() if name.startswith("outputs")}
    results = check_implementation(Doubled(), expected_failures=failing)
    assert {r.status for r in results} == {"expected failure", "skipped"}


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(dtype=np.float16), "dtype: expected float64"),
        (dict(on_fail="shout"), "on_fail: expected"),
        (dict(expected_failures={"nothing": ""}), "expected_failures: expected a mapping"),
        (dict(implementation=object()), "has none of them"),
        (dict(implementation=Right), "got the class Right; call it"),
        (dict(implementation=Implementation()), "has none of them"),
        (dict(tolerance=-1.0), "tolerance: expected"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        check_implementation(**{"implementation": Right()} | change)


@parametrize_with_checks([Right()])
def test_pytest_decorator(implementation, check):
    check(implementation)


def test_pytest_decorator_fails_and_skips():
    @parametrize_with_checks([Doubled()])
    def users_test(implementation, check): ...

    (checks,) = (mark.args[1] for mark in users_test.pytestmark if mark.args[0] == "check")
    with pytest.raises(ConformanceError, match="1 of 1 checks failed"):
        checks[0].values[0](Doubled())
    with pytest.raises(pytest.skip.Exception, match="not implemented"):
        checks[-1].values[0](Doubled())


def test_pytest_decorator_takes_expected_failures():
    @parametrize_with_checks([Doubled()], expected_failures={"outputs: plain": "known"})
    def users_test(implementation, check): ...

    (checks,) = (mark.args[1] for mark in users_test.pytestmark if mark.args[0] == "check")
    (mark,) = checks[0].marks
    assert mark.name == "xfail" and mark.kwargs == {"reason": "known", "strict": True}


def test_tolerance_decides():
    nearly = SimpleNamespace(outputs=lambda net, x: Right().outputs(net, x) * (1 + 1e-6))
    assert not any(result.bad for result in check_implementation(nearly, tolerance=1e-5))
    with pytest.raises(ConformanceError):
        check_implementation(nearly, tolerance=1e-7)


def test_cases_cover_sizes_signs_and_parameters():
    nets, xs, lams = zip(
        *(map(case.inputs.get, ("net", "x", "multipliers")) for case in TWO_CLASSES), strict=True
    )
    alphas = {getattr(net.activation, "alpha", None) for net in nets} - {None}
    assert len(alphas) >= 4 and min(alphas) < 1 < 10 < max(alphas)
    assert max(map(len, xs)) > 64 and max(max(net.widths) for net in nets) > 64
    assert max(net.depth for net in nets) > 8
    sizes = sorted(np.abs(lam).max() for lam in lams)
    assert sizes[0] == 0 and 0 < sizes[1] < 1e-6 and sizes[-1] > 1e5
    assert any(np.any(lam < 0) for lam in lams)
    assert any(np.any(np.all(x == 0, axis=1)) for x in xs)
    assert not get_check("outputs: arrays with gaps").arguments[1].flags.contiguous


def test_cases_keep_away_from_kinks_but_for_one():
    for case in TWO_CLASSES:
        net, x = case.inputs["net"], case.inputs["x"]
        hidden = closed_form.forward(net, x).preactivations[:-1]
        nearest = min((np.abs(z).min() / np.abs(z).max() for z in hidden), default=1.0)
        assert (nearest == 0) == (case.name == "relu at exactly zero")
        assert nearest == 0 or nearest > 1e-3


USERS_MODULE = """
from kkt_ref.stationarity import closed_form
class Good:
    def outputs(self, net, x):
        return closed_form.forward(net, x).outputs
class Bad(Good):
    def outputs(self, net, x):
        return 1.5 * Good.outputs(self, net, x)
class Needs(Good):
    def __init__(self, size): ...
"""


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
    (tmp_path / "users_module.py").write_text(USERS_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("users_module", None)


def test_command_line_in_a_process_of_its_own(users_folder):
    command = [sys.executable, "-m", "kkt_ref", "check", "users_module:Good", "--json", "good.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "0 failed" in done.stdout
    about = json.loads((users_folder / "good.json").read_text())
    rows = about["results"]
    assert (about["seed"], about["dtype"], about["tolerance"]) == (0, "float64", 1e-10)
    assert {row["status"] for row in rows} == {"passed", "skipped"}


def test_command_line_names_failures(users_folder, capsys):
    assert main(["check", "users_module:Bad", "--dtype", "float32"]) == 1
    out = capsys.readouterr().out
    assert "failed   outputs: plain" in out and "the answer is 1.5 times the right one: " in out
    count = sum(name.startswith("ssim: ") for name in check_names())
    assert f"\nskipped  ssim: not implemented ({count} checks)\n" in out
    assert out.count("skipped  ssim") == 1


def test_command_line_options(users_folder, capsys):
    names = [name for name in check_names() if name.startswith("outputs: ")]
    lines = ["# a comment", "", *(f"{name}  # not yet" for name in names[:-1])]
    (users_folder / "known.txt").write_text("\n".join(lines))
    options = ["--expect-fail", "known.txt", "--seed", "4", "--json", "out.json"]
    assert main(["check", "users_module:Bad", *options, "--tolerance", "1e-3"]) == 0
    assert f"{len(names) - 1} expected failure" in capsys.readouterr().out
    about = json.loads((users_folder / "out.json").read_text())
    assert (about["seed"], about["tolerance"], about["checked"]) == (4, 1e-3, "users_module:Bad")
    assert about["versions"]["kkt_ref"] == kkt_ref.__version__ and "numpy" in about["versions"]
    assert main(["check", "users_module:Good", *options[:2]]) == 1
    assert "unexpected pass outputs: plain" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["check", "users_module"], "has none of them"),
        (["check", "users_module:Nothing"], "Nothing"),
        (["check", "nothing:Good"], "nothing"),
        (["check", "json:loads"], "has none of them"),
        (["check", "users_module:Needs"], "needs no arguments"),
        (["check"], "or --answers FILE"),
        (["check", "users_module:Good", "--answers", "a.json"], "or --answers FILE"),
        (["check", "--answers", "a.json"], "a.json"),
        (["check", "users_module:Good", "--seed", "-1"], "seed: expected"),
        (["check", "users_module:Good", "--tolerance", "0"], "tolerance: expected"),
        (["check", "users_module:Good", "--expect-fail", "none.txt"], "none.txt"),
        (["check", "users_module:Good", "--expect-fail", "users_module.py"], "and a reason"),
        (["check", "users_module:Good", "--json", "results.txt"], "a name such as results.json"),
        (["check", "users_module:Good", "--json", "no/results.json"], "does not exist"),
        (["questions", "users_module.py"], "expected an ending"),
    ],
)
def test_command_line_refuses(users_folder, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_command_line_helps(capsys):
    assert main([]) == 2
    assert "kkt-ref audit weights.npz" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"kkt-ref {kkt_ref.__version__}\n"
