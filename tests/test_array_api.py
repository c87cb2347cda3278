"""What runs on another backend equals NumPy, and never leaves its device on the way.

array_api_strict's second device stands for a GPU: it has the standard's functions only,
and an array that was made without its device, or brought to the host unasked, raises.
CuPy's own tests are marked gpu.
"""

import sys

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks.paper import PaperSettings, RelativeLoss
from kkt_ref.conformance import check_implementation
from kkt_ref.conformance.fast import gradient_matrix
from kkt_ref.datasets.toys import even_circle
from kkt_ref.stationarity import closed_form
from kkt_ref.stationarity.backend import Backend, BackendError, get_backend
from kkt_ref.training import descent
from tests.strategies import error

ACTIVATIONS = [kkt_ref.ReLU(), kkt_ref.GatedReLU(4.0), kkt_ref.Softplus(3.0)]


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


def cupy():
    return get_backend("cupy")


@pytest.fixture(
    params=[
        strict,
        pytest.param(pytorch, marks=pytest.mark.slow),
        pytest.param(cupy, marks=pytest.mark.gpu),
    ],
    ids=lambda make: make.__name__,
)
def backend(request):
    return request.param()


@pytest.fixture(params=ACTIVATIONS, ids=lambda activation: activation.name)
def problem(request):
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((4, 9, 6, 1), rng, bias="all", activation=request.param)
    y = np.where(np.arange(7) % 2, 1.0, -1.0)
    return net, rng.normal(size=(7, 4)), y, rng.uniform(0.1, 1.0, 7)


def assert_same(backend, there, here):
    for far, near in zip(there, here, strict=True):
        assert (far is None) == (near is None)
        assert far is None or error(backend.to_host(far), near) < 1e-12


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.5, 0.0, 2.0)])
def test_loss_and_gradient(backend, problem, weights):
    net, *variables = problem
    here = closed_form.stationarity_and_gradient(net, *variables, weights)
    there = closed_form.stationarity_and_gradient(
        backend.put_net(net), *map(backend.put, variables), weights
    )
    assert_same(backend, there.by_layer, here.by_layer)
    assert_same(
        backend,
        (there.value, there.outputs, there.grad_x, there.grad_multipliers),
        (here.value, here.outputs, here.grad_x, here.grad_multipliers),
    )


def test_residuals_by_gram_matrices(backend):
    rng = np.random.default_rng(2)
    net = kkt_ref.init_uniform((20, 30, 25, 1), rng, bias="all")
    x, y, lam = rng.normal(size=(4, 20)), np.array([1.0, -1, 1, 1]), rng.uniform(size=4)
    here = closed_form.stationarity_and_gradient(net, x, y, lam, (0.7, 1.0, 2.0))
    there = closed_form.stationarity_and_gradient(
        backend.put_net(net), *map(backend.put, (x, y, lam)), (0.7, 1.0, 2.0)
    )
    assert_same(backend, (there.value, there.grad_x), (here.value, here.grad_x))


def test_logistic_loss(backend):
    margins = np.random.default_rng(1).normal(size=9) * 100
    far = backend.put(margins)
    log_loss = descent.log_mean_loss(margins)
    assert np.isclose(descent.log_mean_loss(far), log_loss, rtol=1e-12)
    weights = descent.loss_weights(far, log_loss), descent.loss_weights(margins, log_loss)
    assert_same(backend, weights[:1], weights[1:])


@pytest.mark.slow
@pytest.mark.parametrize("train", [kkt_ref.loss_scaled_descent, kkt_ref.gradient_descent])
def test_training_on_arrays_that_cannot_be_changed_in_place(train):
    jax = pytest.importorskip("jax", reason="needs pip install jax")
    jax.config.update("jax_enable_x64", True)
    test_training(Backend(jax.numpy), train)


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


def test_relative_loss(backend, problem):
    net, x, y, lam = problem
    here, there = (
        RelativeLoss(net, y, PaperSettings(layer_weights=(1.0, 0.5, 0.0), **where))
        for where in ({}, dict(backend=backend))
    )
    here.scale = there.scale = 2.0
    vector = here.pack(x, lam)
    (value, gradient), (far_value, far_gradient) = (
        loss.value_and_gradient(vector) for loss in (here, there)
    )
    assert isinstance(far_value, float) and far_gradient.dtype == np.float64
    assert error(far_value, value) < 1e-12 and error(far_gradient, gradient) < 1e-12


def test_reconstruction(backend):
    x, y = even_circle(6)
    net = kkt_ref.init_uniform((2, 12, 8, 1), np.random.default_rng(0))
    net = kkt_ref.loss_scaled_descent(net, x, y, max_steps=300).net
    settings = dict(m=8, seed=0, max_iterations=5, alpha=10.0)
    here = kkt_ref.attacks.reconstruct_paper(net, **settings)
    there = kkt_ref.attacks.reconstruct_paper(net, **settings, backend=backend)
    assert error(there.candidates, here.candidates) < 1e-9
    assert error(there.multipliers, here.multipliers) < 1e-9


class OnBackend:
    """The closed form on a backend, as the kit asks for it."""

    def __init__(self, backend):
        self.backend = backend

    def outputs(self, net, x):
        put = self.backend.put
        return self.backend.to_host(closed_form.forward(self.backend.put_net(net), put(x)).outputs)

    def per_sample_gradients(self, net, x):
        if self.backend.xp is not np:
            raise NotImplementedError  # formed on the host only
        return gradient_matrix(net, x)

    def stationarity(self, net, x, y, multipliers):
        there = closed_form.stationarity_and_gradient(
            self.backend.put_net(net),
            *map(self.backend.put, (x, y, multipliers)),
            [1.0] * net.depth,
        )
        get = self.backend.to_host
        return float(there.value), get(there.grad_x), get(there.grad_multipliers)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_kit_passes(backend, dtype):
    lacking = {"per_sample_gradients: *": "no part of the descents"}
    results = check_implementation(OnBackend(backend), dtype=dtype, expected_failures=lacking)
    passed = {r.name.split(":")[0] for r in results if r.status == "passed"}
    assert passed == {"outputs", "stationarity"}


def test_a_backend_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # None: an import of it fails
    x, y = even_circle(6)
    net = kkt_ref.init_uniform((2, 12, 1), np.random.default_rng(0))
    for call in (
        lambda: kkt_ref.attacks.reconstruct_paper(net, 4, seed=0, backend="cupy"),
        lambda: kkt_ref.loss_scaled_descent(net, x, y, max_steps=1, backend="cupy"),
        lambda: kkt_ref.gradient_descent(net, x, y, max_steps=1, backend="cupy"),
    ):
        with pytest.raises(BackendError, match=r"needs the extra cuda \(pip install"):
            call()
    with pytest.raises(ValueError, match="backend: expected 'numpy', 'cupy' or"):
        kkt_ref.attacks.reconstruct_paper(net, 4, seed=0, backend="tensorflow")


def test_a_machine_without_a_device_is_told(monkeypatch):
    class NoDevice:
        @staticmethod
        def zeros(n):
            raise RuntimeError("no CUDA-capable device is detected")

    monkeypatch.setitem(sys.modules, "cupy", NoDevice)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", NoDevice)
    with pytest.raises(BackendError, match="no usable device .no CUDA-capable device"):
        get_backend("cupy")
