"""The paper's attack: the published loss, the loss that L-BFGS minimises, and the descent."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.attacks import published_loss, reconstruct_paper, refine
from kkt_ref.attacks.paper import PaperSettings, RelativeLoss
from kkt_ref.datasets import toys
from kkt_ref.network import AuthorsGatedReLU
from tests.strategies import ACTIVATIONS, WITH_AUTHORS, away_from_kinks, problems


def slope(function, where, direction, h=1e-6):
    """Central difference of a function of several arrays along a direction."""
    ahead, behind = (
        function(*(a + s * v for a, v in zip(where, direction, strict=True))) for s in (h, -h)
    )
    return (ahead - behind) / (2 * h)


@given(problems(activations=ACTIVATIONS), st.floats(0.1, 2.0))
def test_published_loss_and_its_gradient(problem, lambda_min):
    net, x, y, l_, *_, rng = problem
    x = 2 * x  # some coordinates beyond the box
    loss = published_loss(net, x, y, l_, lambda_min=lambda_min)
    stationarity = kkt_ref.stationarity_loss(net, x, y, l_ / len(y))
    box = sum(max(v - 1, 0) ** 2 + max(-1 - v, 0) ** 2 for v in x.ravel())
    multiplier = 5 * sum(max(lambda_min - v, 0) ** 2 for v in l_)
    assert np.isclose(sum(loss.by_layer), stationarity)
    assert np.isclose(loss.value, stationarity + box + multiplier)

    assume(away_from_kinks(net, x, 1e-3))
    v = rng.normal(size=x.shape), rng.normal(size=l_.shape)
    found = slope(
        lambda x, l_: published_loss(net, x, y, l_, lambda_min=lambda_min).value, (x, l_), v
    )
    size = np.linalg.norm(loss.grad_x) + np.linalg.norm(loss.grad_multipliers)
    expected = np.sum(loss.grad_x * v[0]) + loss.grad_multipliers @ v[1]
    assert abs(found - expected) <= 1e-6 * (size * np.hypot(*map(np.linalg.norm, v)) + loss.value)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [kkt_ref.Softplus(3.0), AuthorsGatedReLU(3.0)], ids=repr)
def test_published_loss_equals_pytorch_s_double_backward(activation):
    """The loss as the authors' code has it."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    from tests.planted.torch_modules import Model, residuals

    class ReluForwardSigmoidBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.relu()

        @staticmethod
        def backward(ctx, slope):
            return slope * torch.sigmoid(3.0 * ctx.saved_tensors[0])

    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((5, 9, 7, 1), rng, activation=activation)
    x, y, l_ = rng.normal(size=(6, 5)), np.resize([-1.0, 1.0], 6), rng.uniform(size=6)
    loss, model = published_loss(net, x, y, l_, lambda_min=0.5), Model(net)
    if activation.name == "authors":
        model.act = ReluForwardSigmoidBackward.apply
    x, l_ = (torch.tensor(a, requires_grad=True) for a in (x, l_))
    parts = residuals(model, (l_ * torch.tensor(y) * model(x)[:, 0]).mean())
    value = sum((part**2).sum() for part in parts)
    value = value + ((x - 1).relu() ** 2).sum() + ((-1 - x).relu() ** 2).sum()
    value = value + 5 * ((0.5 - l_).relu() ** 2).sum()
    theirs = value.item(), *(g.numpy() for g in torch.autograd.grad(value, (x, l_)))
    ours = loss.value, loss.grad_x, loss.grad_multipliers
    for one, other in zip(ours, theirs, strict=True):
        assert np.linalg.norm(one - other) <= 1e-12 * np.linalg.norm(other)


@given(problems(activations=ACTIVATIONS[1:]), st.floats(0.1, 10.0))
def test_the_loss_for_lbfgs_is_the_weighted_residual_and_has_its_gradient(problem, scale):
    net, x, y, lam, *_, rng = problem
    weights = tuple(rng.uniform(0.5, 2.0, net.depth))
    loss = RelativeLoss(net, y, PaperSettings(layer_weights=weights))
    loss.scale = scale
    vector = loss.pack(x, lam)
    value, gradient = loss.value_and_gradient(vector)
    squares = [np.sum(net.theta[s] ** 2) for s in net.layer_slices]
    expected = kkt_ref.stationarity_loss(net, x, y, lam, weights) / np.dot(weights, squares)
    assert np.isclose(value, expected)
    assume(away_from_kinks(net, x, 1e-3))
    v = rng.normal(size=vector.shape)
    found = slope(lambda vector: loss.value_and_gradient(vector)[0], (vector,), (v,))
    size = np.linalg.norm(gradient) * np.linalg.norm(v) + value
    assert abs(found - gradient @ v) <= 1e-6 * size


@given(problems())
def test_balanced_variables_have_gradients_of_one_size(problem):
    net, x, y, lam, *_ = problem
    loss = RelativeLoss(net, y, PaperSettings())
    loss.balance(x, lam)
    vector = loss.pack(x, lam)
    there, back = loss.unpack(vector)
    assert np.array_equal(there, x) and np.allclose(back, lam, rtol=1e-15)
    gradient = loss.value_and_gradient(vector)[1]
    in_x, in_multipliers = gradient[: x.size], gradient[x.size :]
    assume(np.linalg.norm(in_x) > 0)
    assert np.isclose(np.mean(in_x**2), np.mean(in_multipliers**2))


def relu_net():
    return kkt_ref.init_uniform((2, 12, 1), np.random.default_rng(2))


def attack(**options):
    settings = dict(m=6, seed=3, max_iterations=20) | options
    return reconstruct_paper(relu_net(), **settings)


@pytest.fixture(scope="module")
def exact():
    """A smooth network at a weight-decay optimum, its data and its exact multipliers."""
    x, y = toys.even_circle(6)
    start = kkt_ref.init_uniform(
        (2, 100, 1), np.random.default_rng(0), activation=kkt_ref.Softplus(20.0)
    )
    done = kkt_ref.training.weight_decay_optimum(start, x, y, decay=1e-3 / 6, tolerance=1e-6)
    assert done.converged
    return done.net, x, y, done.multipliers


def test_the_truth_is_a_fixed_point(exact):
    net, x, y, lam = exact
    found = refine(net, x, y, lam)
    assert found.runs[0].residual < 2e-6
    reason = found.runs[0].stop_reason
    assert "projected gradient" in reason or "line search" in reason
    assert np.abs(found.candidates - x).max() < 1e-3


def test_bounds_hold_during_the_descent_and_not_by_clipping_its_end(exact):
    """The box excludes the truth, so that the best points lie on its edge."""
    net, x, y, lam = exact
    low, seen = -0.5, []
    found = refine(net, x, y, lam, box=(low, 2.0), callback=lambda *e: seen.append(e))
    assert low > x.min() and found.candidates.min() < low + 0.01
    assert all(cx.min() >= low and cl.min() >= 0 for *_, cx, cl in seen)
    clipped = np.maximum(x, low), y, lam  # where the bounds put the truth
    assert (
        found.runs[0].objective ** 0.5
        < 0.9 * kkt_ref.kkt.stationarity_norms(net, *clipped).relative
    )


def test_the_starts_are_those_of_the_docstring():
    net, found, y = relu_net(), attack(restarts=2), np.repeat([-1.0, 1.0], 3)
    assert found.seed == 3 and np.array_equal(found.labels, np.tile(y, 2))
    for index, rng in enumerate(np.random.default_rng(3).spawn(2)):
        x, lam = np.clip(rng.normal(0.0, 0.1, (6, 2)), -1.0, 1.0), rng.uniform(size=6)
        total = (lam * y) @ kkt_ref.per_sample_gradients(net, x)
        lam *= np.linalg.norm(net.theta) / np.linalg.norm(total)
        from_there = refine(net, x, y, lam, max_iterations=20)
        assert np.allclose(found.of_run(index).candidates, from_there.candidates, atol=1e-6)


@pytest.mark.parametrize("activation", WITH_AUTHORS, ids=lambda a: a.name)
def test_the_objective_is_that_of_the_candidates_and_relu_gets_smooth_gates(activation):
    net, z = relu_net().with_activation(activation), np.linspace(-1, 1, 9)
    found = reconstruct_paper(net, m=6, alpha=30.0, max_iterations=3)
    if np.all(activation.value(z, np) == np.maximum(z, 0)):
        net = net.with_activation(kkt_ref.GatedReLU(30.0))
    last = found.candidates, found.labels, found.multipliers
    reached = kkt_ref.kkt.stationarity_norms(net, *last).relative
    assert np.isclose(found.runs[0].objective, reached**2)


def test_descent_lowers_the_objective_and_says_why_it_stopped():
    seen = []
    found = attack(callback=lambda stage, run, x, lam: seen.append((stage, run, x, lam)))
    run = found.runs[0]
    assert len(seen) == run.steps == 20
    assert {(stage, index) for stage, index, *_ in seen} == {("moved", 0)}
    assert "iterations allowed" in run.stop_reason and "20" in run.stop_reason
    assert np.array_equal(seen[-1][2], found.candidates)
    gated = relu_net().with_activation(kkt_ref.GatedReLU(100.0))
    values = [kkt_ref.stationarity_loss(gated, x, found.labels, lam) for *_, x, lam in seen]
    assert np.all(np.diff(values) <= 0)


def test_a_callback_may_end_the_run():
    calls = []

    def enough(*event):
        calls.append(event)
        if len(calls) == 5:
            raise StopIteration

    run = attack(callback=enough).runs[0]
    assert len(calls) == run.steps == 5 and run.stop_reason == "The callback ended the run."
