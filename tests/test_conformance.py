"""The conformance kit catches planted bugs and names them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.__main__ import main
from kkt_ref.conformance.cases import cases
from kkt_ref.conformance.checks import (
    ConformanceError,
    check_implementation,
    check_names,
    parametrize_with_checks,
)
from kkt_ref.metrics.ssim import SSIMSettings, structural_similarity
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.closed_form import gradient_matrix

SCIKIT_IMAGE = SSIMSettings(window="uniform", size=7, sample_covariance=True)
ROOT = Path(__file__).parent.parent


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

    def ssim(self, a, b):
        return structural_similarity(a, b, data_range=1.0, channel_axis=0)


class Autograd(Right):
    """Our definition."""

    def per_sample_gradients(self, net, x):
        return kkt_ref.per_sample_gradients(net, x)

    def stationarity(self, net, x, y, multipliers):
        return kkt_ref.stationarity_by_autograd(net, x, y, multipliers)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("implementation", [Right(), Autograd()])
def test_our_own_paths_pass(implementation, dtype):
    if dtype == np.float32 and isinstance(implementation, Autograd):
        pytest.skip("autograd's rounding is that of the definition")
    results = check_implementation(implementation, dtype=dtype)
    assert {result.status for result in results} == {"passed"}
    assert [result.name for result in results if "memory" not in result.name] == [
        name for name in check_names() if "memory" not in name
    ]


def mutant(change_net=None, change=None, after=None):
    """The right implementation behind a changed network, changed (y, λ), or changed answers."""

    class Mutant:
        def stationarity(self, net, x, y, multipliers):
            other = change_net(net) if change_net else net
            y2, lam2 = change(y, multipliers) if change else (y, multipliers)
            answer = Right().stationarity(other, x, y2, lam2)
            return after(net, x, y, multipliers, *answer) if after else answer

    return Mutant()


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


def relu_to(activation):
    return lambda net: (
        net.with_activation(activation) if isinstance(net.activation, kkt_ref.ReLU) else net
    )


def gated_to(make):
    return lambda net: (
        net.with_activation(make(net.activation.alpha))
        if isinstance(net.activation, kkt_ref.GatedReLU)
        else net
    )


def transposed(net):
    square = [W.T if W.shape[0] == W.shape[1] else W for W in net.weights]
    return kkt_ref.MLP(square, net.biases, net.activation)


def no_biases(net):
    zero = [None if b is None else 0 * b for b in net.biases]
    return kkt_ref.MLP(net.weights, zero, net.activation)


def scaled(net, x, y, lam, value, grad_x, grad_lam):
    m = len(lam)
    return value, grad_x, grad_lam / m


def in_float32(net, x, y, lam, *answer):
    low = Right().stationarity(net.astype(np.float32), *(a.astype(np.float32) for a in (x, y, lam)))
    return tuple(np.asarray(part, np.float64) for part in low)


def without_layer(layer):
    def after(net, x, y, lam, *answer):
        weights = [1.0] * net.depth
        weights[min(layer, net.depth - 1)] = 0.0
        if net.depth == 1:
            return answer
        terms = closed_form.stationarity_and_gradient(net, x, y, lam, weights)
        return terms.value, terms.grad_x, terms.grad_multipliers

    return after


def wrong(method, change):
    """The right answers to one question, changed, and no others."""

    class Mutant:
        pass

    answer = getattr(Right(), method)
    setattr(Mutant, method, lambda self, *given: change(answer, *given))
    return Mutant()


MUTANTS = {
    "sign of y": (mutant(change=lambda y, lam: (-y, lam)), "y has the opposite sign"),
    "y left out": (mutant(change=lambda y, lam: (np.abs(y), lam)), "y is left out"),
    "y in 0, 1": (mutant(change=lambda y, lam: ((y + 1) / 2, lam)), "taken as 0 and 1"),
    "1/m": (mutant(change=lambda y, lam: (y, lam / len(y)), after=scaled), "divided by m"),
    "λ squared": (
        mutant(
            change=lambda y, lam: (y, lam**2),
            after=lambda net, x, y, lam, v, gx, gl: (v, gx, 2 * lam * gl),
        ),
        "λ is squared",
    ),
    "relu'(0) = 1/2": (mutant(relu_to(HalfAtZero())), "is taken as 0.5"),
    "transposed": (mutant(transposed), r"\(in, out\)"),
    "bias not added": (mutant(no_biases), "biases are not added"),
    "layer 1 left out": (mutant(after=without_layer(0)), "layer 1 is left out"),
    "layer 2 left out": (mutant(after=without_layer(1)), "layer 2 is left out"),
    "σ in every backward": (mutant(gated_to(Throughout)), "every backward pass"),
    "gates detached": (mutant(gated_to(Detached)), "derivative of the gates is left out"),
    "softplus for gates": (mutant(gated_to(kkt_ref.Softplus)), "softplus is used"),
    "hard gates": (mutant(gated_to(lambda alpha: kkt_ref.ReLU())), "gates are hard"),
    "float32 inside": (mutant(after=in_float32), "single precision"),
    "detached from x": (
        mutant(after=lambda net, x, y, lam, v, gx, gl: (v, 0 * gx, gl)),
        "detached from x",
    ),
    "halved": (mutant(after=lambda *a: tuple(part / 2 for part in a[4:])), "halved"),
    "norm not squared": (
        mutant(
            after=lambda net, x, y, lam, v, gx, gl: (
                np.sqrt(v),
                gx / 2 / np.sqrt(v),
                gl / 2 / np.sqrt(v),
            )
        ),
        "not squared",
    ),
    "mean over parameters": (
        mutant(after=lambda net, x, y, lam, *a: tuple(part / net.theta.size for part in a)),
        "mean over the parameters",
    ),
    "opposite gradients": (
        mutant(after=lambda net, x, y, lam, v, gx, gl: (v, -gx, -gl)),
        "opposite sign",
    ),
    "only ∂λ wrong": (
        mutant(after=lambda net, x, y, lam, v, gx, gl: (v, gx, 1.1 * gl)),
        "wrong: grad_multipliers",
    ),
}


OTHER_MUTANTS = {
    "conditions not relative": (
        wrong(
            "kkt_conditions",
            lambda right, net, *a: tuple(
                v * (np.linalg.norm(net.theta) if i == 0 else 1)
                for i, v in enumerate(right(net, *a))
            ),
        ),
        "not divided by ‖θ‖",
    ),
    "dual feasibility forgotten": (
        wrong("kkt_conditions", lambda right, *a: (*right(*a)[:2], 0.0, right(*a)[3])),
        "wrong: dual_feasibility; the rest is right",
    ),
    "q is 1": (
        wrong("kkt_conditions", lambda right, net, x, y, lam, q: right(net, x, y, lam, 1.0)),
        "q is taken as 1",
    ),
    "summed loss": (
        wrong("training_step", lambda right, net, x, y, s: right(net, x, y, s * len(y))),
        "summed, not averaged",
    ),
    "ascent": (
        wrong("training_step", lambda right, net, *a: 2 * net.theta - right(net, *a)),
        "the step goes up",
    ),
    "scikit-image's default window": (
        wrong(
            "ssim",
            lambda right, a, b: structural_similarity(
                a,
                b,
                data_range=1.0,
                channel_axis=0,
                settings=SCIKIT_IMAGE,
            ),
        ),
        "uniform, 7 by 7",
    ),
    "range of 255": (
        wrong(
            "ssim",
            lambda right, a, b: structural_similarity(a, b, data_range=255.0, channel_axis=0),
        ),
        "data_range is 255",
    ),
}


@pytest.mark.parametrize("name", OTHER_MUTANTS)
def test_mutants_of_the_optional_questions_are_caught_and_named(name):
    implementation, diagnosis = OTHER_MUTANTS[name]
    with pytest.raises(ConformanceError, match=diagnosis):
        check_implementation(implementation)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught_and_named(name):
    implementation, diagnosis = MUTANTS[name]
    with pytest.raises(ConformanceError, match=diagnosis) as caught:
        check_implementation(implementation)
    bad = [result for result in caught.value.results if result.bad]
    assert bad and all(result.name.startswith("stationarity: ") for result in bad)
    skipped = [result for result in caught.value.results if result.status == "skipped"]
    asked = sum(name.startswith("stationarity: ") for name in check_names())
    assert len(skipped) == len(check_names()) - asked


def test_wrong_per_sample_gradients_and_residuals_are_named():
    class NoBias(Right):
        def per_sample_gradients(self, net, x):
            kept = np.concatenate([np.full(p.size, p.ndim == 2) for p in net.arrays])
            return gradient_matrix(net, x) * kept

    with pytest.raises(ConformanceError, match="the biases are left out"):
        check_implementation(NoBias())

    class Negative(Right):
        def stationarity_residual(self, net, x, y, multipliers):
            return -Right.stationarity_residual(self, net, x, y, multipliers)

    with pytest.raises(ConformanceError, match="the residual has the opposite sign"):
        check_implementation(Negative())


def test_state_between_calls_is_caught():
    class Stale(Right):
        def outputs(self, net, x):
            if not hasattr(self, "cache"):
                self.cache = Right.outputs(self, net, x)
            return self.cache if len(self.cache) == len(x) else Right.outputs(self, net, x)

    with pytest.raises(ConformanceError, match="stale cache"):
        check_implementation(Stale())

    class InPlace(Right):
        def outputs(self, net, x):
            found = Right.outputs(self, net, x)
            x *= 2.0
            return found

    with pytest.raises(ConformanceError, match="changed in place"):
        check_implementation(InPlace())


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
    class Odd:
        outputs = staticmethod(answer)

    with pytest.raises(ConformanceError, match=message):
        check_implementation(Odd())


def test_what_is_missing_is_skipped_and_expected_failures_expected():
    class OnlyOutputs:
        def outputs(self, net, x):
            if net.activation.name != "relu":
                raise NotImplementedError
            return Right().outputs(net, x)

    results = check_implementation(OnlyOutputs())
    status = {result.name: result.status for result in results}
    assert status["outputs: plain"] == "passed" and status["outputs: softplus"] == "skipped"
    assert status["stationarity: plain"] == "skipped"

    reason = {"outputs: plain": "known"}
    with pytest.raises(ConformanceError, match="unexpected pass"):
        check_implementation(OnlyOutputs(), expected_failures=reason)

    class Doubled(OnlyOutputs):
        def outputs(self, net, x):
            return 2 * OnlyOutputs.outputs(self, net, x)

    failing = {name: "known" for name in check_names() if name.startswith("outputs")}
    results = check_implementation(Doubled(), expected_failures=failing)
    assert {r.status for r in results} == {"expected failure", "skipped"}


def test_bad_arguments_are_named():
    for change, message in (
        (dict(dtype=np.float16), "dtype: expected float64"),
        (dict(on_fail="shout"), "on_fail: expected"),
        (dict(expected_failures={"nothing": ""}), "expected names from check_names"),
    ):
        with pytest.raises(ValueError, match=message):
            check_implementation(Right(), **change)
    with pytest.raises(ValueError, match="has none of them"):
        check_implementation(object())


@parametrize_with_checks([Right()])
def test_pytest_decorator(implementation, check):
    check(implementation)


def test_cases_keep_away_from_kinks_but_for_one():
    for case in cases():
        hidden = closed_form.forward(case.net, case.x).preactivations[:-1]
        nearest = min((np.abs(z).min() / np.abs(z).max() for z in hidden), default=1.0)
        assert (nearest == 0) == (case.name == "relu at exactly zero")
        assert nearest == 0 or nearest > 1e-3


def test_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from kkt_ref.stationarity import closed_form\n"
        "class Good:\n"
        "    def outputs(self, net, x):\n"
        "        return closed_form.forward(net, x).outputs\n"
        "class Bad(Good):\n"
        "    def outputs(self, net, x):\n"
        "        return 1.5 * Good.outputs(self, net, x)\n"
    )

    def check(*arguments):
        command = [sys.executable, "-m", "kkt_ref", "check", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    good = check("mine:Good", "--json", "good.json")
    assert good.returncode == 0, good.stderr
    assert "0 failed" in good.stdout
    rows = json.loads((tmp_path / "good.json").read_text())
    assert {row["status"] for row in rows} == {"passed", "skipped"}
    bad = check("mine:Bad", "--dtype", "float32")
    assert bad.returncode == 1 and "failed   outputs: plain" in bad.stdout
    for target in ("mine", "mine:Nothing", "nothing:Good", "json:loads"):
        misused = check(target)
        assert misused.returncode == 2 and "Traceback" not in misused.stderr


def test_golden_vectors_are_what_is_stored(tmp_path, capsys):
    stored = ROOT / "tests" / "golden"
    assert main(["golden", str(tmp_path)]) == 0
    assert sum(path.stat().st_size for path in stored.iterdir()) < 200_000
    manifests = [json.loads((f / "golden.json").read_text()) for f in (stored, tmp_path)]
    assert manifests[0]["cases"] == manifests[1]["cases"]
    with (
        np.load(stored / "golden.npz", allow_pickle=False) as old,
        np.load(tmp_path / "golden.npz", allow_pickle=False) as new,
    ):
        assert old.files == new.files
        for name in old.files:
            np.testing.assert_allclose(new[name], old[name], rtol=1e-10, atol=1e-12)
    with pytest.raises(SystemExit):
        main(["golden", str(tmp_path / "golden.npz")])
