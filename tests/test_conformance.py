"""The conformance kit: known mistakes are named, and whatever comes back becomes a result.

Bugs that are planted in other implementations are in ``test_planted``.
"""

import copy
import importlib
import io
import subprocess
import sys
import time
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
from kkt_ref.conformance.files import METHODS
from kkt_ref.conformance.mistakes import mistakes
from kkt_ref.conformance.verbs import GIVEN, OF_STEPS
from kkt_ref.conformance.verdict import all_checks, judge
from kkt_ref.metrics.ssim import structural_similarity
from kkt_ref.stationarity import closed_form
from tests.networks import gradient_matrix
from tests.programs import read_json

TWO_CLASSES = cases("two_classes", np.float64, 0)


class Right:
    """Our closed form."""

    def outputs(self, net, x):
        return closed_form.forward(net, x).outputs

    def per_sample_gradients(self, net, x):
        return gradient_matrix(net, x)

    def stationarity_residual(self, net, x, y, multipliers):
        return net.theta - (multipliers * y) @ gradient_matrix(net, x)

    def stationarity(self, net, x, y, multipliers, layer_weights=None):
        weights = (1.0,) * net.depth if layer_weights is None else layer_weights
        terms = closed_form.stationarity_and_gradient(net, x, y, multipliers, weights)
        return terms.value, terms.grad_x, terms.grad_multipliers

    def kkt_conditions(self, net, x, y, multipliers, margin):
        report = kkt_ref.kkt_report(net, x, y, multipliers, margin=margin)
        others = report.primal_feasibility, report.dual_feasibility, report.complementary_slackness
        return report.stationarity.relative, *others

    def epsilon_delta(self, net, x, y, multipliers, margin):
        report = kkt_ref.kkt_report(net, x, y, multipliers, margin=margin)
        return report.epsilon, report.delta

    def training_step(self, net, x, y, step):
        return kkt_ref.gradient_descent(net, x, y, step=step, max_steps=1).net.theta

    class_outputs, class_kkt_conditions = outputs, kkt_conditions
    class_stationarity = weighted_stationarity = stationarity

    def ssim(self, a, b):
        return structural_similarity(a, b, data_range=1.0, channel_axis=0)


@parametrize_with_checks([Right()])
def test_our_own_paths_pass(implementation, check):
    check(implementation)


def checks_of(name):
    return [c for c in all_checks(np.float64, 0) if c.question.name == name and c.other is None]


def judged(checks, answers):
    """The results of checks of one question, from the answers by the checks' names."""

    def result_of(check):
        parts = tuple(map(np.array, answers[check.name]))
        answer = parts if len(parts) > 1 else parts[0]
        given = {check.question.name: lambda *_: copy.deepcopy(answer)}
        return check.asked(SimpleNamespace(**given))

    return judge(checks, result_of, None, "return")


ALL = pytest.param(METHODS, marks=pytest.mark.slow)


@pytest.mark.parametrize("names", [["weighted_stationarity", "class_kkt_conditions"], ALL])
def test_our_own_paths_pass_in_single_precision(names):
    some = SimpleNamespace(**{name: getattr(Right(), name) for name in names})
    results = check_implementation(some, dtype=np.float32)
    passed = [result.name for result in results if result.status == "passed"]
    assert passed == [name for name in check_names() if name.split(":")[0] in names]


@pytest.mark.parametrize(
    "name",
    ["outputs", "ssim", *(pytest.param(n, marks=pytest.mark.slow) for n in [*METHODS][1:-1])],
)
def test_each_known_mistake_is_caught_and_named(name):
    checks = checks_of(name)
    for mistake in mistakes(name, checks[0].case.inputs)[::23]:
        answers = {check.name: check.given_by(mistake) for check in checks}
        wrong = [c for c in checks if (a := answers[c.name]) and max(c.errors(a, c.right)) > 1e-10]
        right = [c for c in checks if answers[c.name] and c not in wrong]
        bad = [result for result in judged(wrong[:3] + right[:2], answers) if result.bad]
        if {w for result in bad for w in result.wrong.values()} != {("0",)}:  # many give that
            named = {cause.source for result in bad for cause in result.causes[:1]}
            assert named <= {"mistake"} and bool(named) == bool(wrong), (mistake, bad)


def test_a_mistake_that_many_cases_do_not_allow_is_named_in_the_others():
    checks = checks_of("stationarity_residual")
    known = mistakes("stationarity_residual", checks[0].case.inputs)
    (one,) = (m for m in known if m[:2] == ("∇b", "is inverted"))  # may divide by 0
    answers = {c.name: c.given_by(one) or tuple(7 * part for part in c.right) for c in checks}
    allowed = [check for check in checks if check.given_by(one)]
    others = [check for check in checks if check not in allowed][:6]
    said = [result.diagnosis for result in judged(allowed + others, answers)]
    assert len(allowed) == 10 and said.count("matches if ∇b is inverted") == 8  # 2 have no bias


@pytest.mark.parametrize("noise, named", [(0.0, True), (8e-11, False)])
def test_a_mistake_is_named_if_it_explains_nearly_all_of_the_error(noise, named):
    def rounded(net, x):
        right = Right().outputs(net, x)
        return np.round(right, 9) + noise * np.linalg.norm(right) * np.eye(len(x))[0]

    bad = check_implementation(SimpleNamespace(outputs=rounded), on_fail="return")
    said = {cause.description for result in bad for cause in result.causes}
    assert ("the answer is rounded to 9 decimals" in said) == named


def test_the_right_answers_are_those_of_the_definition():
    defined = {  # the paths of the library answer the other questions by its report
        "stationarity": kkt_ref.stationarity_by_autograd,
        "residual": lambda *given: (kkt_ref.stationarity.stationarity_residual(*given),),
        "gradients": lambda *given: (kkt_ref.per_sample_gradients(*given),),
        "outputs": lambda net, x: (net.outputs(x)[:, 0] if net.K == 1 else net.outputs(x),),
    }
    for check in all_checks(np.float64, 0):
        function = defined.get(check.question.name.rpartition("_")[2])
        if function:
            errors = check.errors(function(*check.arguments), check.right)
            assert max(errors) <= check.tolerance, check.name


def test_a_mistake_in_what_is_given_gives_the_right_answer_to_that():
    subjects = dict(x="x", y="y", multipliers="λ", margin="q", step="step", layer_weights="w")
    verbs = ("is doubled",), ("has the opposite sign", "is shifted by one class")  # the last of y
    seen = set()
    for check in {check.question.name: check for check in all_checks(np.float64, 0)[::-1]}.values():
        inputs = check.case.inputs
        known = mistakes(check.question.name, inputs)
        seen |= {step for mistake in known for step in mistake.steps}
        for name in inputs:
            its = [mistake for mistake in known if mistake.subject == subjects.get(name)]
            its = [mistake for mistake in its if mistake.verb in verbs[name == "y"]]
            assert bool(its) == (name in subjects), (check.name, name)
            for mistake in its:
                wanted = check.question.right(
                    inputs | {name: mistake.change(inputs[name], inputs)}
                )[0]
                assert np.allclose(check.given_by(mistake)[0], wanted, rtol=1e-10), check.name
    assert OF_STEPS.keys() | GIVEN <= seen  # no verb is without a step


def test_one_line_a_cause_and_what_a_case_tests_apart():
    def stationarity(net, x, y, lam):
        value, grad_x, grad_lam = Right().stationarity(net, x, y, lam / len(y))
        return value, grad_x, grad_lam / len(y)

    mutant = SimpleNamespace(stationarity=stationarity)
    with pytest.raises(ConformanceError) as caught:
        check_implementation(mutant)
    first, cause, failure, meaning, *_ = str(caught.value).splitlines()
    count = sum(result.bad for result in caught.value.results)
    assert first.startswith(f"{count} of ")
    assert cause.startswith("the cause: matches if ") and "sum is divided by m" in cause
    assert cause.endswith(f": {count} of stationarity")
    assert failure.startswith("failed   stationarity: plain: error ") and "tests" not in failure
    assert meaning.strip() == "this case tests: the formula itself"


@pytest.mark.parametrize(
    "factors, said",
    [
        ((1.37, 1, 1, 1, 1, 1), "W_1 is"),
        ((1.37, 1, 1, 1.37, 1, 1), "W_1 and b_2 are"),
        ((1.37, 1, 1.37, 1, 1.37, 1), "every W is"),
    ],
)
def test_wrong_arrays_are_named(factors, said):
    def residual(net, *given):
        right = net.with_theta(Right().stationarity_residual(net, *given)).arrays
        return net.with_arrays([c * p for c, p in zip(factors, right, strict=True)]).theta

    wrong = SimpleNamespace(stationarity_residual=residual)
    said += " 1.37 times the right one; the rest is right"
    assert get_check("stationarity_residual: all biases").run(wrong).diagnosis == said


def test_a_right_derivative_of_a_wrong_value_is_named():
    wrong = SimpleNamespace(
        stationarity=lambda net, x, y, l_: Right().stationarity(net, x, y, 2 * l_)
    )
    said = get_check("stationarity: plain").run(wrong).diagnosis
    assert "is doubled, but its derivative is right" in said


@pytest.mark.parametrize("question", ["kkt_conditions", "epsilon_delta"])
def test_parts_of_an_answer_have_the_names_of_the_report(question):
    check = get_check(f"{question}: plain")
    *given, margin = check.arguments
    report = kkt_ref.kkt_report(*given, margin=margin).as_dict()
    for name, right in check.blocks(check.right).items():
        assert np.isclose(right, report[name], rtol=1e-9)


def test_memory_is_blamed_only_if_the_first_answer_is_right():
    half = SimpleNamespace(outputs=lambda net, x: Right().outputs(net, x) / 2)
    results = {r.name: r for r in check_implementation(half, on_fail="return")}
    assert results["outputs: no memory"].status == "skipped"
    assert "only if the first answer is right" in results["outputs: no memory"].diagnosis


def rounded(array):
    """The array with an error that differs from call to call, as of a sum in any order."""
    return array * (1 + 1e-12 * np.random.default_rng().normal(size=array.shape))


class Tensor:
    """What PyTorch does with a tensor that requires a gradient."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def test_single_checks_withhold_what_all_checks_withhold():
    class Wrong:  # that of all checks knows that only one case fits the first mistake
        def outputs(self, net, x):
            return Right().outputs(net, x) * (2.0 if len(x) == 7 else 3.0)

    whole = check_implementation(Wrong(), on_fail="return")
    alone = [check.run(Wrong()) for check in all_checks(np.float64, 0)[:30:6]]
    diagnoses = {result.name: result.diagnosis for result in whole}
    assert alone and all(diagnoses[result.name] == result.diagnosis for result in alone)
    assert "by a factor that differs from case to case" in alone[0].diagnosis


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda net, x: np.ones((len(x), 1)), r"expected shape \(7,\), got \(7, 1\)"),
        (lambda net, x: np.ones(len(x), np.float32), "expected dtype float64"),
        (lambda net, x: np.full(len(x), np.nan), "expected finite"),
        (lambda net, x: np.full(len(x), 1e300), "the answer is wrong"),
        (lambda net, x: np.random.default_rng().normal(size=len(x)), "two answers"),
        (lambda net, x: 1e9 * rounded(Right().outputs(net, x)), r"is 1e\+09 times the right one"),
        (lambda net, x: 1 / 0, "raised ZeroDivisionError"),
        (lambda net, x: sys.exit(3), "raised SystemExit: 3"),
        (lambda net: 1, "raised TypeError"),
        (lambda net, x: None, "got None; a return is missing"),
        (lambda net, x: Tensor(), "which NumPy cannot read .*; detach it first"),
        (lambda net, x: [[1.0], [1.0, 2.0]], "which NumPy cannot read"),
        (lambda net, x: "text", "expected real numbers, got str"),
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


GATES = {"outputs: *softplus*": "ReLU only", "outputs: *gates": "ReLU only"}


class OnlyReLU:
    factor = 1

    def outputs(self, net, x):
        if net.activation.name != "relu":
            raise NotImplementedError
        return self.factor * Right().outputs(net, x)


class Doubled(OnlyReLU):
    factor = 2


def test_what_is_missing_is_skipped_and_what_is_offered_must_be_answered():
    results = check_implementation(OnlyReLU(), on_fail="return")
    status = {result.name: result.status for result in results}
    assert status["outputs: plain"] == "passed" and status["outputs: softplus"] == "unanswered"
    assert status["stationarity: plain"] == "skipped"
    with pytest.raises(ConformanceError, match=r"unanswered outputs: NotImpl.* \(\d checks\)"):
        check_implementation(OnlyReLU())
    check_implementation(OnlyReLU(), expected_failures=GATES)


def test_expected_failures_are_expected():
    with pytest.raises(ConformanceError, match="unexpected pass"):
        check_implementation(OnlyReLU(), expected_failures=GATES | {"outputs: plain": "known"})
    failing = {name: "known" for name in check_names() if name.startswith("outputs")}
    results = check_implementation(Doubled(), expected_failures=failing)
    assert {r.status for r in results} == {"expected failure", "skipped"}


def test_slow_methods_are_stopped_and_told():
    told, slow = [], SimpleNamespace(outputs=lambda net, x: time.sleep(0.02))
    results = check_implementation(slow, time_limit=0.01, progress=told.append, on_fail="return")
    late = [result for result in results if result.status == "unanswered"]
    assert told[0] == "outputs: plain" and len(late) > 30
    assert late[0].diagnosis == "the limit of 0.01 s is over"


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(dtype=np.float16), "dtype: expected float64"),
        (dict(on_fail="shout"), "on_fail: expected"),
        (dict(expected_failures={"output: plain": ""}), "the nearest is 'outputs: plain'"),
        (dict(implementation=SimpleNamespace(outptus=len, ssim=len)), "name outputs, got outptus"),
        (dict(time_limit=0.0), "time_limit: expected"),
        (dict(implementation=object()), "has none of them"),
        (dict(implementation=Right), "got the class Right; call it"),
        (dict(implementation=Implementation()), "has none of them"),
        (dict(tolerance=-1.0), "tolerance: expected"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        check_implementation(**{"implementation": Right()} | change)


def test_pytest_decorator_fails_skips_and_expects_failures():
    @parametrize_with_checks([Doubled()], expected_failures={"outputs: plain": "known"})
    def users_test(implementation, check): ...

    (checks,) = (mark.args[1] for mark in users_test.pytestmark if mark.args[0] == "check")
    with pytest.raises(ConformanceError, match="1 of 1 checks failed"):
        checks[0].values[0](Doubled())
    with pytest.raises(pytest.skip.Exception, match="not implemented"):
        checks[-1].values[0](Doubled())
    (names,) = (m.kwargs["ids"] for m in users_test.pytestmark if m.args[0] == "implementation")
    assert names == ["Doubled"]
    (mark,) = checks[0].marks
    assert mark.name == "xfail" and mark.kwargs == {"reason": "known", "strict": True}


def test_tolerance_decides():
    nearly = SimpleNamespace(
        outputs=lambda net, x: Right().outputs(net, x) * (1 + 1e-6), _ssim="is no answer"
    )
    assert not any(result.bad for result in check_implementation(nearly, tolerance=1e-5))
    with pytest.raises(ConformanceError):
        check_implementation(nearly, tolerance=1e-7)


class LinearAbove20(kkt_ref.Softplus):
    def value(self, z, xp):
        return np.where(self.alpha * z > 20, z, super().value(z, xp))


FOUND = {  # a mistake in the use of net, x, y and λ that makes a difference in few cases
    "softplus at 20": lambda net, *rest: (net.with_activation(LinearAbove20(2.7)), *rest),
    "many samples": lambda net, *rest: (net, *(part[:64] for part in rest)),
    "nine layers": lambda net, *rest: (net.scaled(1 + (net.depth > 8)), *rest),
    "wide layers": lambda net, x, *rest: (net, np.where(np.arange(net.d) < 64, x, 0), *rest),
    "large inputs": lambda net, x, *rest: (net, np.clip(x, -50, 50), *rest),
    "small inputs": lambda net, x, *rest: (net, np.where(np.abs(x) < 0.01, 0, x), *rest),
    "zero input": lambda net, x, *rest: (net, np.where(x == 0, 1, x), *rest),
    "zero multipliers": lambda *given: (*given[:3], np.maximum(given[3], 1e-9)),
    "tiny multipliers": lambda *given: (*given[:3], np.where(given[3] < 1e-6, 0, given[3])),
    "huge multipliers": lambda *given: (*given[:3], np.minimum(given[3], 1e5)),
    "negative multipliers": lambda *given: (*given[:3], np.maximum(given[3], 0)),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_case_finds_what_it_is_there_for(name):
    check = get_check(f"stationarity_residual: {name}")
    answer = Right().stationarity_residual(*FOUND[name](*check.arguments))
    assert max(check.errors((answer,), check.right)) > check.tolerance


def test_cases_cover_sharpness_and_strides():
    alphas = {getattr(case.inputs["net"].activation, "alpha", 1.0) for case in TWO_CLASSES}
    assert len(alphas) >= 5 and min(alphas) < 1 < 10 < max(alphas)
    assert not get_check("outputs: arrays with gaps").arguments[1].flags.contiguous


def test_images_have_pixels_from_0_to_1():
    images = [case.inputs[name] for case in cases("images", np.float64, 0) for name in "ab"]
    assert all(image.min() >= 0 and image.max() <= 1 for image in images)


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


def test_three_lines_repeat_a_failure_at_an_empty_prompt(users_folder):
    check = get_check("outputs: plain", seed=5)
    sys.path.insert(0, "")
    lines = check.run(importlib.import_module("users_module").Bad()).repeat
    assert len(lines.splitlines()) == 3 and ">>>" not in lines
    done = subprocess.run([sys.executable, "-"], input=lines, capture_output=True, text=True)
    right = check.right[0]
    assert done.stdout == f"{1.5 * right} ({right!r},)\n", done.stderr


def test_command_line_without_greek(users_folder, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert main(["check", "users_module:Bad", "--json", "b.json"]) == 1
    sys.stdout.flush()
    assert b"exp(alphaz) does not overflow" in sys.stdout.buffer.getvalue()
    rows = read_json(users_folder / "b.json")["results"]
    assert {row["status"] for row in rows} == {"failed", "skipped"}


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
    about = read_json(users_folder / "out.json")
    assert (about["seed"], about["tolerance"], about["checked"]) == (4, 1e-3, "users_module:Bad")
    assert about["versions"]["kkt_ref"] == kkt_ref.__version__ and "numpy" in about["versions"]
    assert main(["check", "users_module:Good", *options[:2]]) == 1
    said = capsys.readouterr().out
    assert "unexpected pass outputs: plain" in said and "\npassed" not in said


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["check", "users_module"], "has none of them"),
        (["check", "nothing:Good"], "nothing"),
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
