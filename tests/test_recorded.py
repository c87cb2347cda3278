"""The numbers that every public function returned when they were recorded: nothing changes unseen.

Other tests say what is right; this one sees what they do not ask.  If a change is meant, run
`python -m tests.test_recorded`, and the difference of recorded.txt shows what it changed.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks import components
from kkt_ref.audit import audit, judge
from kkt_ref.audit.report import as_numbers
from kkt_ref.audit.weights import Weights
from kkt_ref.conformance.mistakes import mistakes
from kkt_ref.conformance.questions import QUESTIONS
from kkt_ref.conformance.verdict import all_checks
from kkt_ref.network.activations import ACTIVATIONS, Elementwise
from tests.public import GOOD, KINKED, LAM, NET, PHOTOS, X, Y, filled, function_of, prepare
from tests.strategies import separable

FILE = Path(__file__).with_name("recorded.txt")
RECORDED = dict(line.split(": ", 1) for line in FILE.read_text().splitlines())
NUMBER = re.compile(r"-?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")
ROWS = np.random.default_rng(5).normal(size=(40, 36))
THREE = kkt_ref.loss_scaled_descent(
    kkt_ref.init_uniform((3, 9, 6, 3), np.random.default_rng(4), bias="all"),
    *(X, np.arange(6) % 3),
    target_loss=0.1,
)
LEFT_OUT = {  # slow or long, or rounding decides between solutions; others call them
    *("attacks.reconstruct_plane", "audit.audit", "conformance.check_answers"),
    *("conformance.check_implementation", "attacks.reconstruct_components"),
}


def audited(widths, n, m, **options):
    (d, *_), x = widths, ROWS[:, : widths[0]]
    start = kkt_ref.init_paper(widths, np.random.default_rng(1), first_layer=0.1)
    data, unseen = separable(0, n, d), x[:m]
    net = kkt_ref.loss_scaled_descent(start, *data, target_loss=1e-3).net if d > 2 else KINKED
    found = audit(net, data, (unseen, np.sign(unseen[:, 0])), **options)
    return as_numbers(Weights(net, "a file"), found, judge(found))


def asked(question):
    """The sizes of all arguments and right answers, and for each verb of the kit its answers'."""
    checks = [c for c in all_checks(np.float64, 0) if c.question.name == question]
    given = parts(json.dumps(numbers([(c.arguments, c.right) for c in checks])))[1]
    found = {"all": float(np.sum(np.log1p(np.abs(given))))}
    for mistake in mistakes(question, checks[0].case.inputs):
        size = sum(float(np.abs(part).sum()) for part in checks[0].given_by(mistake, False) or ())
        found[mistake.verb] = found.get(mistake.verb, 0.0) + size
    return found


CALLS = {
    "training": lambda: THREE,
    "the four conditions": lambda: kkt_ref.kkt_report(THREE.net, X, np.arange(6) % 3),
    "activations": lambda: [
        kkt_ref.stationarity_and_gradient(NET.with_activation(Elementwise(name)), X, Y, LAM)
        for name in ACTIVATIONS[4:]
    ],
    "the attack on another activation": lambda: kkt_ref.attacks.reconstruct_paper(
        NET.with_activation(Elementwise("gelu")), 4, seed=2, max_iterations=3, workers=1
    ),
    "membership": lambda: kkt_ref.attacks.membership_scores(PHOTOS, ROWS[:7]),
    "components": lambda: [
        components.centred(ROWS[:7], ROWS[:7, 0], ROWS[1], components.differences((1, 6, 6)), 1),
        components.ranks(50),
    ],
    "audit": lambda: audited((8, 30, 8, 1), 12, 40, candidates=4, restarts=2),
    "audit in the plane": lambda: audited((2, 4, 1), 9, 12, box=(-4.0, 4.0))["data"],
    **{f"{name} in the kit": lambda name=name: asked(name) for name in QUESTIONS},
}
NAMES = [*CALLS, *(name for name in GOOD if name not in LEFT_OUT)]


def numbers(value):
    """Whatever it is, as JSON holds it; of a large array two projections."""
    if isinstance(value, (np.ndarray, np.generic)):
        flat = np.asarray(value).ravel()
        if flat.dtype.kind in "biuf" and flat.size > 6:
            flat = flat.astype(float)
            flat = np.array([np.abs(flat).sum(), flat @ np.cos(np.arange(flat.size))])
        return numbers(flat.tolist())
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_asdict"):
        return [numbers(part) for part in value]
    if type(value).__module__.startswith("kkt_ref"):
        value = value._asdict() if hasattr(value, "_asdict") else vars(value)
    if not isinstance(value, Mapping):
        return str(type(value))
    return {str(key): numbers(part) for key, part in value.items() if not callable(part)}


def parts(text):
    """The words of a text, and the numbers with a point or an exponent in it."""
    return NUMBER.sub("#", text), np.array([float(number) for number in NUMBER.findall(text)])


def called(name, folder):
    arguments = {key: filled(value, folder) for key, value in GOOD.get(name, {}).items()}
    text = json.dumps(numbers((CALLS.get(name) or function_of(name))(**arguments)))
    return text.replace(str(folder), "folder")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changed(name, folder):
    (said, found), (words, recorded) = parts(called(name, folder)), parts(RECORDED[name])
    assert said == words
    tolerance = 0.2 if name == "audit" else 1e-3  # ranks of few samples depend on rounding
    np.testing.assert_allclose(found, recorded, tolerance, 1e-5)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        prepare(Path(made))
        lines = [f"{name}: {called(name, Path(made))}\n" for name in NAMES]
    FILE.write_text("".join(lines))
