"""Results on another backend equal NumPy's, and no array leaves its device on the way.

array_api_strict's second device stands for a GPU: it has the standard's functions only,
and an array that was made without its device, or brought to the host unasked, raises.
CuPy's own tests are marked gpu.
"""

import sys

import numpy as np
import pytest

import kkt_ref
from kkt_ref.datasets.toys import even_circle
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.backend import Backend, get_backend
from tests.strategies import error


def strict():
    xp = pytest.importorskip("array_api_strict", reason="needs pip install array-api-strict")
    device = xp.Device("device1")  # not the default: an array made without it shows up

    def to_host(array):
        assert array.device == device
        return np.array(xp.asarray(array, device=xp.Device("CPU_DEVICE")))

    return Backend(xp, device, to_host)


def pytorch():
    pytest.importorskip("array_api_compat", reason="needs pip install array-api-compat")
    return Backend(
        pytest.importorskip("array_api_compat.torch", reason="needs pip install torch==2.13.0"),
        "cpu",
        lambda tensor: tensor.numpy(),
    )


def jax():
    """Arrays that cannot be changed in place."""
    engine = pytest.importorskip("jax", reason="needs pip install jax")
    engine.config.update("jax_enable_x64", True)
    return Backend(engine.numpy)


def cupy():
    return get_backend("cupy")


@pytest.fixture(
    params=[
        strict,
        pytest.param(pytorch, marks=pytest.mark.slow),
        pytest.param(jax, marks=pytest.mark.slow),
        pytest.param(cupy, marks=pytest.mark.gpu),
    ],
    ids=lambda make: make.__name__,
)
def backend(request):
    return request.param()


@pytest.mark.parametrize("widths", [(4, 9, 6, 1), (20, 30, 25, 3)])  # arrays, Gram matrices
@pytest.mark.parametrize(
    ("weights", "activation"),
    [
        ((1.0, 0.0, 0.0), kkt_ref.ReLU()),
        ((0.5, 0.0, 2.0), kkt_ref.GatedReLU(4.0)),
        ((1.0, 1.0, 1.0), kkt_ref.Softplus(3.0)),
    ],
    ids=str,
)
def test_loss_and_gradient(backend, weights, activation, widths):
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform(widths, rng, bias="all", activation=activation)
    y = np.resize([-1.0, 1.0], 4) if net.K == 1 else np.arange(4) % 3
    lam = rng.uniform(0.1, 1.0, 4 if net.K == 1 else (4, 3))
    data = rng.normal(size=(4, net.d)), y, lam
    here = closed_form.stationarity_and_gradient(net, *data, weights)
    there = closed_form.stationarity_and_gradient(
        backend.put_net(net), *map(backend.put, data), weights
    )
    for far, near in zip([*there.by_layer, *there], [*here.by_layer, *here], strict=True):
        assert (far is None) == (near is None)
        if near is not None and not isinstance(near, list):
            assert error(backend.to_host(far), near) < 1e-12


@pytest.mark.parametrize("train", [kkt_ref.loss_scaled_descent, kkt_ref.gradient_descent])
def test_training(backend, train):
    x, y = even_circle(6)
    net = kkt_ref.init_uniform((2, 12, 8, 1), np.random.default_rng(0))
    here = train(net, x, y, max_steps=40, record_every=10)
    there = train(net, x, y, max_steps=40, record_every=10, backend=backend)
    assert isinstance(there.net.weights[0], np.ndarray)
    assert error(there.net.theta, here.net.theta) < 1e-12
    assert error(there.multipliers, here.multipliers) < 1e-10
    assert np.allclose(*(r.history.column("log_loss") for r in (there, here)), rtol=1e-12)


def test_reconstruction(backend):
    x, y = even_circle(6)
    net = kkt_ref.init_uniform((2, 12, 8, 1), np.random.default_rng(0))
    net = kkt_ref.loss_scaled_descent(net, x, y, max_steps=300).net
    settings = dict(m=8, seed=0, max_iterations=5, alpha=10.0)
    here = kkt_ref.attacks.reconstruct_paper(net, **settings)
    there = kkt_ref.attacks.reconstruct_paper(net, **settings, backend=backend)
    assert error(there.candidates, here.candidates) < 1e-9
    assert error(there.multipliers, here.multipliers) < 1e-9


def test_a_machine_without_a_device_is_told(monkeypatch):
    class NoDevice:
        @staticmethod
        def zeros(n):
            raise RuntimeError("no CUDA-capable device is detected")

    monkeypatch.setitem(sys.modules, "cupy", NoDevice)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", NoDevice)
    with pytest.raises(RuntimeError, match="no usable device .no CUDA-capable device"):
        get_backend("cupy")
