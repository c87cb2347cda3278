"""Model inversion and first-layer rows."""

import numpy as np

import kkt_ref
from kkt_ref.attacks.baselines import first_layer_rows, model_inversion

NET = kkt_ref.init_uniform((6, 20, 10, 1), np.random.default_rng(0))
LOW, HIGH = -np.linspace(0.1, 1.0, 6), np.linspace(0.2, 1.0, 6)


def test_inversion_climbs_within_the_box():
    x, y = model_inversion(NET, low=LOW, high=HIGH, starts=8, seed=0)
    assert np.all(x >= LOW) and np.all(x <= HIGH) and np.sum(y) == 0
    rng = np.random.default_rng(1)
    reached = kkt_ref.margins(NET, x, y)
    anywhere = rng.uniform(LOW, HIGH, size=(1000, 6))
    for sign in (-1.0, 1.0):
        random = kkt_ref.margins(NET, anywhere, np.full(1000, sign))
        assert reached[y == sign].max() > random.max()


def test_inversion_of_a_linear_network_is_a_corner():
    net = kkt_ref.MLP((np.array([[1.0, -2.0, 3.0]]),), (None,))
    x, y = model_inversion(net, low=np.full(3, -1.0), high=np.full(3, 1.0), starts=2, seed=0)
    assert np.allclose(x, y[:, None] * np.array([1.0, -1.0, 1.0]))


def test_rows_come_in_both_signs():
    rows = first_layer_rows(NET)
    assert np.array_equal(rows[::2], NET.weights[0]) and np.array_equal(rows[1::2], -rows[::2])
