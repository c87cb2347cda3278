"""Bad input is named before any work is done."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.datasets import toys
from kkt_ref.kkt.multipliers import fit_multipliers

NET = kkt_ref.init_uniform((2, 5, 1), np.random.default_rng(0))
X, Y, LAM = np.eye(2), np.array([-1.0, 1.0]), np.ones(2)

SAMPLES = [
    (dict(x=X[0]), ValueError, r"x: expected shape \(n, 2\)"),
    (dict(x=np.ones((2, 3))), ValueError, r"x: expected shape \(n, 2\)"),
    (dict(x=np.empty((0, 2)), y=np.empty(0)), ValueError, "x: expected at least one row"),
    (dict(x=np.array([[np.nan, 0.0], [0.0, 1.0]])), ValueError, "x: expected finite"),
    (dict(x=X.astype(np.float32)), TypeError, "x: expected dtype float64"),
    (dict(x=X.astype(int)), TypeError, "x: expected a floating array"),
    (dict(x=[["a", "b"], ["c", "d"]]), TypeError, "x: expected a floating array"),
    (dict(y=np.array([0, 1])), ValueError, r"y: expected labels -1 and \+1"),
    (dict(y=np.array([np.nan, 1.0])), ValueError, r"y: expected labels"),
    (dict(y=np.ones(3)), ValueError, r"y: expected shape \(2,\)"),
    (dict(y=["a", "b"]), ValueError, r"y: expected labels"),
    (dict(net="net"), TypeError, "net: expected a kkt_ref.MLP"),
    (dict(net=NET.scaled(np.nan)), ValueError, "net: a parameter is NaN"),
]
TAKES_SAMPLES = {
    "loss": lambda net, x, y: kkt_ref.stationarity_loss(net, x, y, LAM),
    "autograd": lambda net, x, y: kkt_ref.stationarity_by_autograd(net, x, y, LAM),
    "norms": lambda net, x, y: kkt_ref.kkt.stationarity_norms(net, x, y, LAM),
    "report": lambda net, x, y: kkt_ref.kkt_report(net, x, y),
    "floor": lambda net, x, y: kkt_ref.residual_floor(net, x, y),
    "clarke": lambda net, x, y: kkt_ref.clarke_stationarity(net, x, y),
    "margins": lambda net, x, y: kkt_ref.margins(net, x, y),
    "multipliers": lambda net, x, y: fit_multipliers(net, x, y),
    "descent": lambda net, x, y: kkt_ref.gradient_descent(net, x, y),
    "scaled": lambda net, x, y: kkt_ref.loss_scaled_descent(net, x, y),
    "decay": lambda net, x, y: kkt_ref.training.weight_decay_optimum(net, x, y),
    "refine": lambda net, x, y: kkt_ref.attacks.refine(net, x, y, np.ones(len(x))),
}


@pytest.mark.parametrize(("change", "kind", "message"), SAMPLES)
@pytest.mark.parametrize("name", TAKES_SAMPLES)
def test_samples(name, change, kind, message):
    with pytest.raises(kind, match=message):
        TAKES_SAMPLES[name](**(dict(net=NET, x=X, y=Y) | change))


TABLE = {
    "multipliers: expected shape": lambda: kkt_ref.stationarity_loss(NET, X, Y, np.ones(3)),
    "multipliers: expected finite": lambda: kkt_ref.stationarity_loss(NET, X, Y, LAM * np.inf),
    "multipliers: expected dtype": lambda: kkt_ref.kkt_report(NET, X, Y, LAM.astype(np.float32)),
    "layer_weights: expected 2": lambda: kkt_ref.stationarity_loss(NET, X, Y, LAM, (1,)),
    "layer_weights: expected at least": lambda: kkt_ref.residual_floor(
        NET, X, Y, layer_weights=(0, 0)
    ),
    "margin: expected a finite": lambda: kkt_ref.kkt_report(NET, X, Y, LAM, margin=-1.0),
    "width: expected a finite": lambda: kkt_ref.clarke_stationarity(NET, X, Y, width=0.0),
    "labels differ": lambda: kkt_ref.loss_scaled_descent(NET, np.ones((2, 2)), Y),
    "step: expected a finite": lambda: kkt_ref.gradient_descent(NET, X, Y, step=-0.1),
    "rate: expected a finite": lambda: kkt_ref.loss_scaled_descent(NET, X, Y, rate="fast"),
    "max_steps: expected an integer": lambda: kkt_ref.gradient_descent(NET, X, Y, max_steps=1.5),
    "target_loss: expected": lambda: kkt_ref.gradient_descent(NET, X, Y, target_loss=0.0),
    "record_every: expected": lambda: kkt_ref.gradient_descent(NET, X, Y, record_every=0),
    "decay: expected": lambda: kkt_ref.training.weight_decay_optimum(NET, X, Y, decay=np.nan),
    "the first layer is zero": lambda: kkt_ref.attacks.reconstruct_on_grid(NET.scaled(0.0)),
    "net: expected float64": lambda: kkt_ref.attacks.reconstruct_on_grid(NET.astype(np.float32)),
    "tolerance: expected": lambda: kkt_ref.match_points(X, X, 0.0),
    r"candidates: expected shape \(n, 2\)": lambda: kkt_ref.match_points(X, np.ones((2, 3)), 0.1),
    "theta: expected shape": lambda: NET.with_theta(np.ones(3)),
    r"widths: expected \(d, h_1": lambda: kkt_ref.init_paper((2, 3), np.random.default_rng(0)),
    "bias: expected": lambda: kkt_ref.init_uniform((2, 1), np.random.default_rng(0), bias="some"),
    "W_2: expected shape": lambda: kkt_ref.MLP((np.ones((3, 2)), np.ones((1, 2))), (None, None)),
    "W_1: expected one output": lambda: kkt_ref.MLP((np.ones((3, 2)),), (None,)),
    "W_1: expected a floating": lambda: kkt_ref.MLP((np.ones((1, 2), int),), (None,)),
    r"b_1: expected shape \(1,\)": lambda: kkt_ref.MLP((np.ones((1, 2)),), (np.ones(2),)),
    "b_1: expected dtype float64": lambda: kkt_ref.MLP(
        (np.ones((1, 2)),), (np.ones(1, np.float32),)
    ),
    "expected one bias": lambda: kkt_ref.MLP((np.ones((1, 2)),), ()),
    "name: expected one of": lambda: kkt_ref.network.activation_by_name("tanh"),
    "alpha: 'gated' needs": lambda: kkt_ref.network.activation_by_name("gated"),
    "alpha: 'relu' takes none": lambda: kkt_ref.network.activation_by_name("relu", 1.0),
    "n: expected an even number": lambda: toys.spiral(5),
}


@pytest.mark.parametrize("message", TABLE)
def test_arguments(message):
    with pytest.raises((ValueError, TypeError), match=message):
        TABLE[message]()


def test_a_non_contiguous_read_only_array_is_fine():
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(4, 4)))[:, ::2]
    x.flags.writeable = False
    y = np.array([1, -1, 1, -1])
    value = kkt_ref.stationarity_loss(NET, x, y, np.ones(4))
    assert value == kkt_ref.stationarity_loss(NET, np.ascontiguousarray(x), y, np.ones(4))
