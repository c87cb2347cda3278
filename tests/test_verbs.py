"""The verbs of known mistakes do what their words say."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import kkt_ref
from kkt_ref.conformance import verbs
from kkt_ref.network import activation_by_name

V = np.array([0.25, -2.0, 0.5])
SAID = {  # of V, where m is 7, K is 3 and α is 2
    "has the opposite sign": -V, "is doubled": V + V, "is halved": V / 2, "is divided by m": V / 7,
    "is multiplied by m": 7 * V, "is divided by K − 1": V / 2, "is divided by α": V / 2,
    "is squared": [1 / 16, 4, 1 / 4], "is replaced by its square root": [0.5, 2**0.5, 0.5**0.5],
    "is inverted": [4, -0.5, 2], "is taken without its sign": [0.25, 2, 0.5],
    "is clipped at 0": [0.25, 0, 0.5], "goes through softplus": np.log1p(np.exp(V)),
    "is replaced by its sign": [1, -1, 1], "is divided by its sum": V / 2.75,
    "is divided by its norm": V / np.sqrt(69 / 16), "is divided by its largest value": V / 2,
    "is centred": V + 1.25 / 3, "is replaced by its mean": [-1.25 / 3] * 3,
    "is in reverse order": [0.5, -2, 0.25], "is added up from the first": [0.25, -1.75, -1.25],
    "lacks the last": [0.25, -2, 0], "lacks all after the first 64": V,
    "is multiplied by y": -V, "is the sum alone": 3 - V, "lacks ‖θ‖²": V - 27,
}  # fmt: skip
FUNCTIONS = {  # at V
    "is left out": V, "is an absolute value": [0.25, 2, 0.5], "is squared": [1 / 16, 0, 1 / 4],
    "is a positive part": [0.25, 0, 0.5], "has the opposite sign inside": [0, 2, 0],
    "is a sum": -1.25, "is a mean": -1.25 / 3, "is a maximum": 0.5, "lacks the last": -1.75,
    "lacks all after the first 64": -1.25, "is the root of a sum": np.nan,
}  # fmt: skip
LOSSES = {  # of y and Φ
    "the exponential loss": lambda y, u: np.exp(-y * u),
    "the hinge": lambda y, u: np.maximum(1 - y * u, 0),
    "the squared hinge": lambda y, u: np.maximum(1 - y * u, 0) ** 2,
    "the squared error": lambda y, u: (y - u) ** 2,
    "half the squared error": lambda y, u: (y - u) ** 2 / 2,
    "the cross-entropy with y as -1 and 1": lambda y, u: np.log1p(np.exp(u)) - y * u,
    "log(1 + exp(1 − y Φ))": lambda y, u: np.log1p(np.exp(1 - y * u)),
}


@pytest.mark.parametrize("table", ["NUMBERS", "CONSTANTS", "ARRAYS", "DIGITS", "ANSWERS"])
def test_values(table):
    net = SimpleNamespace(K=3, activation=kkt_ref.Softplus(2.0), theta=np.full(3, 3.0))
    given = {"x": np.ones((7, 2)), "y": -np.ones(3), "net": net}
    for verb, change in getattr(verbs, table).items():
        v, number = V, float([*re.findall(r"\d[\d.]*", verb), 0][0])
        wanted = SAID.get(verb, number)  # it is taken as this number
        if "rounded" in verb:
            v, kind = 1234.123456789123 * V, verb.rpartition(" ")[2]
            form = {"decimals": f".{number:g}f", "digits": f".{number - 1:g}e"}.get(kind)
            wanted = [float(format(t, form)) for t in v] if form else v.astype(kind)
        np.testing.assert_allclose(change(v, given), wanted, rtol=1e-14, err_msg=verb)


@pytest.mark.parametrize("table", ["FUNCTIONS", "REDUCTIONS"])
def test_functions(table):
    with np.errstate(invalid="ignore"):
        for verb, function in getattr(verbs, table).items():
            np.testing.assert_allclose(function(None, {})(V), FUNCTIONS[verb], err_msg=verb)


def test_powers_losses_and_activations():
    for verb, power in verbs.POWERS.items():
        a, b = map(int, re.findall(r"-?\d+", verb.replace("+", " ")))
        q = power(None, {"margin": 8.0, "net": SimpleNamespace(depth=3)})
        assert np.isclose(q, 2.0 ** (3 * a + b)), verb
    y, u, h = np.array([-1.0, 1.0, 1.0, -1.0]), np.array([0.3, 0.7, 1.6, -1.2]), 1e-6
    for name, loss in LOSSES.items():
        slope = (loss(y, u - h) - loss(y, u + h)) / (2 * h)
        assert np.allclose(verbs.LOSSES[f"is that of {name}"](None, {})(y, u), slope), name
    z = np.linspace(-3, 9, 25)
    for name, value in verbs.VALUES.items():
        kind, *slope = re.findall(r"^[a-z]+|[\d.]+$", name.lower())
        if name in ("tanh", "GELU", "ELU") or kind == "leaky":
            act = activation_by_name({"leaky": "leaky_relu"}.get(kind, kind), *map(float, slope))
            assert np.allclose(value(z, 2.0), act.value(z, np)), name
