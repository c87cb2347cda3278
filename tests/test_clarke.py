"""Gates at a kink are free: the residual that remains is Clarke's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.stationarity.closed_form import forward
from tests.strategies import problems


@given(
    problems(activations=(kkt_ref.ReLU(),), min_depth=2),
    st.sampled_from([0.01, 0.05, 2.0]),
    st.sampled_from([1, 50]),
)
def test_never_worse_than_hard_gates_which_stay_away_from_kinks(problem, width, steps):
    net, x, y, *_ = problem
    fit = kkt_ref.clarke_stationarity(net, x, y, width=width, max_iterations=steps)
    hard = kkt_ref.residual_floor(net, x, y)
    assert fit.stationarity.absolute <= hard.absolute * (1 + 1e-9)
    assert np.all(fit.multipliers >= 0)
    assert all(np.all((g >= 0) & (g <= 1)) for g in fit.gates)
    for gate, z in zip(fit.gates, forward(net, x).preactivations, strict=False):
        far = np.abs(z) > width * np.sqrt(np.mean(z**2))
        assert np.array_equal(gate[far], (z > 0)[far])


def kinked():
    """A one-neuron network, stationary only if the gate at a kink is neither 0 nor 1.

    x_1 = c (1, -g), x_2 = c (0, 1), both +.  With w = (1, 0), v = 1 the second sample is on the
    kink, w·x_2 = 0, the first is not, w·x_1 = c.  v = λ_1 w·x_1 gives λ_1 = 1/c, and
    w = v (λ_1 x_1 + λ_2 gate x_2) gives λ_2 · gate = g/c.
    """
    g = 0.3
    net = kkt_ref.MLP((np.array([[1.0, 0.0]]), np.array([[1.0]])), (None, None))
    return net, 0.01 * np.array([[1.0, -g], [0.0, 1.0]]), np.ones(2), g


def test_a_planted_gate_is_found():
    net, x, y, g = kinked()
    assert forward(net, x).preactivations[0][1, 0] == 0.0  # on the kink
    assert kkt_ref.residual_floor(net, x, y).relative > 0.1
    fit = kkt_ref.clarke_stationarity(net, x, y, max_iterations=10)  # few: λ and gates are scaled
    assert fit.freed == 1
    assert fit.stationarity.relative < 1e-6
    # only λ·gate is determined: the sample on the kink adds nothing to v
    assert np.isclose(fit.multipliers[1] * fit.gates[0][1, 0], g * fit.multipliers[0], rtol=1e-4)
