"""The closed form uses the Array-API standard only, and never leaves its device."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref import closed_form
from tests.strategies import error

xp = pytest.importorskip("array_api_strict", reason="needs pip install array-api-strict")
DEVICE = xp.Device("device1")  # not the default: an array made without its device shows up
ACTIVATIONS = [kkt_ref.ReLU(), kkt_ref.GatedReLU(4.0), kkt_ref.Softplus(3.0)]


def on_device(array):
    return xp.asarray(np.array(array), device=DEVICE)


def back(array):
    assert array.device == DEVICE
    return np.asarray(xp.asarray(array, device=xp.Device("CPU_DEVICE")))


@pytest.fixture(params=ACTIVATIONS, ids=lambda activation: activation.name)
def problem(request):
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((4, 9, 6, 1), rng, bias="all", activation=request.param)
    there = net.with_arrays([on_device(p) for p in net.arrays])
    y = np.where(np.arange(7) % 2, 1.0, -1.0)
    return net, there, rng.normal(size=(7, 4)), y, rng.uniform(0.1, 1.0, 7)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.5, 0.0, 2.0)])
def test_loss_and_gradient(problem, weights):
    net, there, x, y, lam = problem
    here = closed_form.stationarity_and_gradient(net, x, y, lam, weights)
    far = closed_form.stationarity_and_gradient(
        there, on_device(x), on_device(y), on_device(lam), weights
    )
    assert error(back(far.value), here.value) < 1e-12
    assert error(back(far.grad_x), here.grad_x) < 1e-12
    assert error(back(far.grad_multipliers), here.grad_multipliers) < 1e-12
    assert error(back(far.outputs), here.outputs) < 1e-12
    for a, b in zip(far.by_layer, here.by_layer, strict=True):
        assert (a is None) == (b is None) and (a is None or error(back(a), b) < 1e-12)


def test_a_term_in_the_outputs(problem):
    net, there, x, y, lam = problem
    weights = (1.0, 1.0, 1.0)

    def square(outputs):
        return closed_form.namespace(outputs).sum(outputs * outputs), 2.0 * outputs

    here = closed_form.stationarity_and_gradient(net, x, y, lam, weights, square)
    far = closed_form.stationarity_and_gradient(
        there, on_device(x), on_device(y), on_device(lam), weights, square
    )
    assert error(back(far.grad_x), here.grad_x) < 1e-12
    assert error(back(far.value), here.value) < 1e-12
