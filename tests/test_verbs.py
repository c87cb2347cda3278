"""What the kit plants does what its name says, by NumPy alone."""

import re

import numpy as np
import pytest
import scipy

import kkt_ref
from kkt_ref.conformance import verbs

V = np.array([[3.0, -1.5, 0.25], [-2.0, 0.5, 4.0], [1.0, 7.0, -0.75]])
m, K, ALPHA = *V.shape, 5.0
GIVEN = {"net": kkt_ref.MLP((np.eye(3),), (None,), kkt_ref.GatedReLU(ALPHA)), "x": V}
ARRAYS = {
    "has the opposite sign": -V,
    "is doubled": V + V,
    "is halved": V / 2,
    "is divided by m": V / m,
    "is multiplied by m": m * V,
    "is divided by K − 1": V / (K - 1),
    "is divided by α": V / ALPHA,
    "is squared": V**2,
    "is replaced by its square root": np.abs(V) ** 0.5,
    "is inverted": V**-1,
    "is taken without its sign": np.abs(V),
    "is clipped at 0": np.maximum(V, 0),
    "goes through softplus": np.log1p(np.exp(V)),
    "is replaced by its sign": np.where(V > 0, 1, -1),
    "is divided by its sum": V / np.abs(V).sum(),
    "is divided by its norm": V / np.linalg.norm(V),
    "is divided by its largest value": V / 7,
    "is centred": V - V.mean(axis=0),
    "is replaced by its mean": np.tile(V.mean(axis=0), (m, 1)),
    "is in reverse order": np.flipud(V),
    "is added up from the first": np.tri(m) @ V,
    "lacks the last": np.diag([1, 1, 0]) @ V,
    "is rounded to float16": np.float16(V),
    "is transposed if it is square": V.T,
    "is in Fortran order": V.ravel(order="F").reshape(V.shape),
    "is divided row by row by its norm": V / np.linalg.norm(V, axis=1, keepdims=True),
    "is divided by 255": V / 255,
    "goes through softmax over the samples": scipy.special.softmax(V, axis=0),
    "goes through softmax": scipy.special.softmax(V, axis=1),
    "goes through log-softmax": scipy.special.log_softmax(V, axis=1),
}
VALUES = {  # of z and α
    "the identity": V,
    "relu": np.maximum(V, 0),
    "relu6": np.clip(V, 0, 6),
    "GELU": V * scipy.stats.norm.cdf(V),
    "z σ(αz)": V * scipy.special.expit(ALPHA * V),
    "softplus": np.log1p(np.exp(ALPHA * V)) / ALPHA,
    "a softplus that is not divided by α": np.log1p(np.exp(ALPHA * V)),
    "softplus, but linear above αz = 20": np.where(V > 4, V, np.log1p(np.exp(ALPHA * V)) / ALPHA),
    "ELU": np.where(V > 0, V, np.exp(V) - 1),
    "leaky ReLU with slope 0.05": np.maximum(V, 0.05 * V),
}
SUMS = {
    "is a sum": V.sum(),
    "is a mean": V.sum() / V.size,
    "is a maximum": 7.0,
    "is the root of a sum": V.sum() ** 0.5,
    "lacks the last": V[:2].sum(),
    "is squared": np.maximum(V, 0) ** 2,
    "has the opposite sign inside": np.maximum(-V, 0),
}


TABLES = verbs.NUMBERS | verbs.ARRAYS | verbs.MATRICES | verbs.ROWS | verbs.SCORES
CASES = [(TABLES[name](V, GIVEN), wanted) for name, wanted in ARRAYS.items()]
CASES += [(verbs.VALUES[name](V, ALPHA), wanted) for name, wanted in VALUES.items()]
OF_V = verbs.REDUCTIONS | verbs.FUNCTIONS
CASES += [(OF_V[name](V, GIVEN)(V), wanted) for name, wanted in SUMS.items()]


@pytest.mark.parametrize(("found", "wanted"), CASES, ids=[*ARRAYS, *VALUES, *SUMS])
def test_verbs(found, wanted):
    assert np.allclose(found, wanted, rtol=1e-7, atol=1e-12)


def test_constants_digits_and_scopes_are_those_of_the_names():
    numbers = np.array([1234.56789123456, 0.000123456789123])
    for name, change in (verbs.CONSTANTS | verbs.DIGITS).items():
        said = float(re.search("[0-9.]+", name)[0])
        power = 10.0 ** (said if "decimals" in name else said + np.array([-4, 3]))
        wanted = said if "taken" in name else np.round(numbers * power) / power
        assert np.allclose(change(numbers, GIVEN), wanted, rtol=1e-12, atol=1e-14), name
    assert [counts(1, 3) for counts in verbs.SCOPES.values()] == [False, False, True]
