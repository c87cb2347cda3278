"""The closed form equals its definition by autograd, and both are derivatives."""

import numpy as np
import pytest
from hypothesis import assume, given
from strategies import WITH_AUTHORS, error, problems, sums

import kkt_ref
from kkt_ref.network import AuthorsGatedReLU
from kkt_ref.stationarity.closed_form import forward, stationarity_and_gradient
from kkt_ref.stationarity.evaluation import Evaluation, evaluate
from kkt_ref.stationarity.layer_residual import (
    CANCELLED,
    ArrayResidual,
    GramResidual,
    layer_residual,
)

every_activation = pytest.mark.parametrize("activation", WITH_AUTHORS, ids=lambda a: a.name)


def away_from_kinks(net, x):
    return min(np.abs(z).min() for z in net.preactivations(x)) > 1e-4


@every_activation
def test_it_is_the_definition(activation):
    """Over outputs, biases, depths, problems, wide and narrow layers, and both dtypes."""

    @given(sums(activation))
    def check(drawn):
        net, x, y, lam, problem, weights, _ = drawn
        slow = kkt_ref.stationarity_by_autograd(net, x, y, lam, weights, problem=problem)
        fast = stationarity_and_gradient(net, x, y, lam, weights, problem=problem)
        outputs = net.outputs(x)  # (m, K)
        assert error(fast.outputs, outputs[:, 0] if net.K == 1 else outputs) < 1e-13
        # scale: what vanishes by cancellation is compared with what cancels
        scale = slow[0] + 1e-2 * net.theta @ net.theta
        ours = fast.value, fast.grad_x, fast.grad_multipliers
        for part, wanted in zip(ours, slow, strict=True):
            assert np.linalg.norm(part - wanted) <= 1e-12 * (np.linalg.norm(wanted) + scale)
        loop = kkt_ref.stationarity_loss(net, x, y, lam, weights, problem=problem)
        assert abs(loop - slow[0]) <= 1e-12 * (slow[0] + scale)
        if away_from_kinks(net, x):
            as_single = [v.astype(np.float32) if v.dtype.kind == "f" else v for v in (x, y, lam)]
            single = stationarity_and_gradient(
                net.astype(np.float32), *as_single, weights, problem=problem
            )
            assert single.grad_x.dtype == single.grad_multipliers.dtype == np.float32
            whole = 1e-5 * (slow[0] + net.theta @ net.theta)
            assert abs(single.value - slow[0]) < whole
            assert np.linalg.norm(single.grad_x - slow[1]) < whole + 1e-5 * np.linalg.norm(slow[1])

    check()


@every_activation
def test_sums_of_gradients_are_those_of_the_loop(activation):
    @given(sums(activation))
    def check(drawn):
        net, x, rng = drawn.net, drawn.x, drawn.rng
        U, weights = rng.normal(size=(len(x), net.K)), rng.normal(size=len(x))
        rows = kkt_ref.per_sample_gradients(net, x, U)
        for here in (evaluate(net, x), Evaluation(net, x)):
            assert error(here.outputs, net.outputs(x)) < 1e-13
            assert error(here.gradient_rows(U), rows) < 1e-13
            flat = np.concatenate([g.ravel() for g in here.gradient_sum(U)])
            assert np.linalg.norm(flat - rows.sum(axis=0)) <= 1e-13 * np.linalg.norm(rows)
            total, squares = here.weighted_sum(U, weights)
            flat = np.concatenate([g.ravel() for g in total])
            assert np.linalg.norm(flat - weights @ rows) <= 1e-12 * np.linalg.norm(rows)
            assert np.allclose(squares, np.sum(rows**2, axis=1))

    check()


@pytest.mark.slow
def test_the_authors_activation_is_their_custom_backward():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    alpha = 4.0

    class Theirs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.relu()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.sigmoid(alpha * ctx.saved_tensors[0])

    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((4, 9, 7, 1), rng, activation=AuthorsGatedReLU(alpha))
    x, y, lam = rng.normal(size=(6, 4)), np.sign(rng.normal(size=6)), rng.uniform(size=6)
    theta = [torch.tensor(p, requires_grad=True) for p in net.arrays]
    points, weights = (torch.tensor(v, requires_grad=True) for v in (x, lam))
    W1, b1, W2, W3 = theta
    outputs = (Theirs.apply(Theirs.apply(points @ W1.T + b1) @ W2.T) @ W3.T)[:, 0]
    total = torch.autograd.grad((weights * torch.tensor(y)) @ outputs, theta, create_graph=True)
    loss = sum(((p.detach() - g) ** 2).sum() for p, g in zip(theta, total, strict=True))
    loss.backward()
    for ours in kkt_ref.stationarity_by_autograd, kkt_ref.stationarity_and_gradient:
        value, *_, grad_x, grad_lam = ours(net, x, y, lam)
        assert error(value, loss.item()) < 1e-12
        assert error(grad_x, points.grad.numpy()) < 1e-12
        assert error(grad_lam, weights.grad.numpy()) < 1e-12


@given(problems())
def test_gradient_equals_central_differences(problem):
    net, x, y, lam, rng = problem
    assume(away_from_kinks(net, x))
    weights, h = tuple(rng.uniform(0.1, 2.0, net.depth)), 1e-6
    dx, dl = rng.normal(size=x.shape), rng.normal(size=lam.shape)

    def value(s):
        return stationarity_and_gradient(net, x + s * dx, y, lam + s * dl, weights).value

    here = stationarity_and_gradient(net, x, y, lam, weights)
    slope = np.sum(here.grad_x * dx) + here.grad_multipliers @ dl
    assert np.isclose((value(h) - value(-h)) / (2 * h), slope, rtol=1e-6, atol=1e-7 * here.value)


def draw(m=3, h=20, p=30, bias=True):
    rng = np.random.default_rng(0)
    a, W = rng.normal(size=(m, p)), rng.normal(size=(h, p))
    b = rng.normal(size=h) if bias else None
    z = a @ W.T + (0.0 if b is None else b)
    return a, z, rng.normal(size=(m, h)), W, b


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("w", [1.0, 0.3])
def test_both_forms_of_a_layers_residual_are_one(w, bias):
    a, z, delta, W, b = draw(bias=bias)
    z_bar = np.random.default_rng(1).normal(size=z.shape)
    square, gram = layer_residual(w, a, z, delta, W, b)
    assert isinstance(gram, GramResidual)
    S, s_b = w * (delta.T @ a - W), None if b is None else w * (delta.sum(0) - b)
    assert error(square, (np.sum(S**2) + (0.0 if b is None else np.sum(s_b**2))) / w**2) < 1e-13
    for form in (gram, ArrayResidual(S, s_b)):
        wanted = a @ S.T + (0.0 if b is None else s_b)
        assert error(form.tangent(a, z, delta), wanted) < 1e-13
        assert error(form.pull(a, delta, W, z_bar), delta @ S + z_bar @ W) < 1e-13
        assert error(form.pull(a, delta, W, None), delta @ S) < 1e-13


def test_the_form_follows_the_shape():
    assert isinstance(layer_residual(1.0, *draw(m=17))[1], GramResidual)
    assert isinstance(layer_residual(1.0, *draw(m=18))[1], ArrayResidual)


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-9, 0.0])
def test_small_residuals_keep_their_digits(distance):
    a, _, delta, W, _ = draw(bias=False)
    W = delta.T @ a + distance * W
    square, form = layer_residual(1.0, a, a @ W.T, delta, W, None)
    right = np.sum((delta.T @ a - W) ** 2)
    assert isinstance(form, GramResidual) == (right > CANCELLED["float64"] * np.sum(W**2))
    assert abs(square - right) <= 1e-9 * right


def test_lists_and_tensors_are_taken_as_by_the_definition():
    net = kkt_ref.init_uniform((2, 5, 1), np.random.default_rng(0))
    lists = [[1.0, 2.0], [0.5, -1.0]], [1.0, -1.0], [0.3, 0.7]
    value = kkt_ref.stationarity_loss(net, *lists)
    assert np.isclose(stationarity_and_gradient(net, *lists).value, value, rtol=1e-12)
    torch = pytest.importorskip("torch", reason="needs pip install torch")
    tensors = (torch.tensor(part, dtype=torch.float64) for part in lists)
    terms = stationarity_and_gradient(net, *tensors)
    assert isinstance(terms.grad_x, np.ndarray) and np.isclose(terms.value, value, rtol=1e-12)


def test_the_trace_has_the_outputs_of_the_network_by_hand():
    W1, b1, W2 = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([0.5, -1.0]), np.array([[2.0, -1.0]])
    net = kkt_ref.MLP((W1, W2), (b1, None))
    # z = (1·1 − 2·1 + 0.5, 3·1 + 0.5·1 − 1) = (−0.5, 2.5), Φ = 2·0 − 1·2.5
    x = np.array([[1.0, 1.0]])
    assert forward(net, x).outputs[0] == net.outputs(x)[0, 0] == -2.5
