"""Activations: values, gates, and the derivatives of both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ACTIVATIONS, central_difference

from kkt_ref import GatedReLU, ReLU, Softplus, activation_by_name

every = pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
smooth = pytest.mark.parametrize("act", [GatedReLU(3.0), Softplus(3.0)], ids=["gated", "softplus"])
away_from_zero = st.floats(0.01, 5) | st.floats(-5, -0.01)
ZERO = np.zeros(1)


@every
@given(z=away_from_zero)
def test_slope_is_the_derivative_of_the_value(act, z):
    z = np.array([z])
    found = act.slope(z, np)
    assert found == pytest.approx(central_difference(lambda v: act.value(v, np), z, 1.0), rel=1e-8)


@every
@given(z=away_from_zero)
def test_gate_slope_is_the_derivative_of_the_gate(act, z):
    z = np.array([z])
    expected = central_difference(lambda v: act.gate(v, np), z, 1.0)
    assert act.gate_slope(z, np) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("act", [ReLU(), Softplus(3.0)], ids=["relu", "softplus"])
@given(z=st.floats(-5, 5))
def test_gate_is_the_slope_where_the_gradient_is_true(act, z):
    z = np.array([z])
    np.testing.assert_array_equal(act.gate(z, np), act.slope(z, np))


def test_the_slope_of_relu_at_zero_is_zero():
    for act in (ReLU(), GatedReLU(3.0)):
        np.testing.assert_array_equal(act.slope(ZERO, np), 0.0)
        np.testing.assert_array_equal(act.value(ZERO, np), 0.0)
    np.testing.assert_array_equal(ReLU().gate(ZERO, np), 0.0)


@smooth
def test_smooth_gates_are_a_half_at_zero(act):
    np.testing.assert_array_equal(act.gate(ZERO, np), 0.5)
    assert act.gate_slope(ZERO, np) == pytest.approx(act.alpha / 4)


@given(z=away_from_zero)
def test_sharp_gates_and_softplus_tend_to_relu(z):
    z = np.array([z])
    sharp = 1e4
    np.testing.assert_allclose(GatedReLU(sharp).gate(z, np), ReLU().gate(z, np), atol=1e-12)
    np.testing.assert_allclose(
        Softplus(sharp).value(z, np), ReLU().value(z, np), atol=np.log(2) / sharp
    )


@every
@pytest.mark.parametrize("method", ["value", "slope", "gate", "gate_slope"])
def test_huge_arguments_overflow_nowhere(act, method):
    z = np.array([-1e300, -1e4, 1e4, 1e300])
    assert np.isfinite(getattr(act, method)(z, np)).all()


@every
@pytest.mark.parametrize("method", ["value", "slope", "gate", "gate_slope"])
def test_float32_stays_float32(act, method):
    z = np.linspace(-1, 1, 5, dtype=np.float32)
    assert getattr(act, method)(z, np).dtype == np.float32


@given(z=st.floats(-5, 5), c=st.floats(0.1, 10))
def test_relu_is_homogeneous_and_says_so(z, c):
    z = np.array([z])
    np.testing.assert_allclose(ReLU().value(c * z, np), c * ReLU().value(z, np))
    assert ReLU().homogeneous
    assert GatedReLU(3.0).homogeneous


def test_softplus_is_not_homogeneous_and_says_so():
    assert Softplus(3.0).value(2 * ZERO, np) != 2 * Softplus(3.0).value(ZERO, np)
    assert not Softplus(3.0).homogeneous


@every
def test_a_name_and_a_sharpness_say_it_all(act):
    assert activation_by_name(act.name, getattr(act, "alpha", None)) == act


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("tanh",), "name: expected one of 'relu', 'gated', 'softplus', got 'tanh'"),
        (("relu", 3.0), "alpha: 'relu' takes none, got 3.0"),
        (("gated",), "alpha: 'gated' needs a sharpness"),
        (("softplus", 0.0), "alpha: expected a finite number > 0"),
        (("softplus", -1.0), "alpha: expected a finite number > 0"),
        (("gated", np.nan), "alpha: expected a finite number > 0"),
        (("gated", np.inf), "alpha: expected a finite number > 0"),
    ],
)
def test_bad_names_and_sharpnesses_are_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        activation_by_name(*arguments)
