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
    check_implementation,
    check_names,
    parametrize_with_checks,
)
from kkt_ref.conformance.cases import cases
from kkt_ref.metrics.ssim import SSIMSettings, structural_similarity
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.closed_form import gradient_matrix
from kkt_ref.stationarity.problems import RunnerUp


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


class Stale(Right):
    cache = None

    def outputs(self, net, x):
        if self.cache is None:
            self.cache = Right.outputs(self, net, x)
        return self.cache if len(self.cache) == len(x) else Right.outputs(self, net, x)


class InPlace(Right):
    def outputs(self, net, x):
        found = Right.outputs(self, net, x)
        x *= 2.0
        return found


@pytest.mark.parametrize("kind, message", [(Stale, "stale cache"), (InPlace, "changed in place")])
def test_state_between_calls_is_caught(kind, message):
    with pytest.raises(ConformanceError, match=message):
        check_implementation(kind())


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda net, x: np.ones((len(x), 1)), r"expected shape \(7,\), got \(7, 1\)"),
        (lambda net, x: np.ones(len(x), np.float32), "expected dtype float64"),
        (lambda net, x: np.full(len(x), np.nan), "expected finite"),
        (lambda net, x: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_shape_dtype_and_finiteness_come_first(answer, message):
    with pytest.raises(ConformanceError, match=message):
        check_implementation(SimpleNamespace(outputs=answer))


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
        checks[0](Doubled())
    with pytest.raises(pytest.skip.Exception, match="not implemented"):
        checks[-1](Doubled())


def test_cases_keep_away_from_kinks_but_for_one():
    for case in cases():
        hidden = closed_form.forward(*case.inputs[:2]).preactivations[:-1]
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
    assert "failed   outputs: plain" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["check", "users_module"], "has none of them"),
        (["check", "users_module:Nothing"], "Nothing"),
        (["check", "nothing:Good"], "nothing"),
        (["check", "json:loads"], "has none of them"),
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
