"""Several outputs and other losses: one equation, against autograd, solvers and PyTorch."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize, nnls
from scipy.special import softmax

import kkt_ref
from kkt_ref.kkt.weight_decay import weight_decay_stationarity
from kkt_ref.stationarity.losses import LOSSES
from kkt_ref.stationarity.problems import Regression, RunnerUp
from kkt_ref.training import weight_decay_optimum


def targets(kind, n, K, rng):
    if kind in ("regression", "mse", "huber"):
        return rng.normal(size=(n, K))
    return np.arange(n) % K


def drawn(K, depth=3, seed=0, n=9, **kind):
    rng = np.random.default_rng(seed)
    widths = (4, *(6, 5, 7, 3)[: depth - 1], K)
    net = kkt_ref.init_uniform(widths, rng, **kind)
    return net, rng.normal(size=(n, 4)), rng


def test_the_runner_up_is_the_largest_wrong_class():
    outputs = np.array([[3.0, 1.0, 2.0], [-1.0, -2.0, -3.0], [0.0, 5.0, 4.0]])
    wrong_and_own = [[1, 0, -1], [-1, 1, 0], [0, -1, 1]]
    assert RunnerUp().directions(np.arange(3), outputs)[:, 0].tolist() == wrong_and_own


def test_two_outputs_are_one_output():
    """Φ_1 − Φ_0 of a network with the outputs (−Φ/2, Φ/2) is Φ: margins and conditions agree."""
    one, x, rng = drawn(1)
    last = np.concatenate([-one.weights[-1], one.weights[-1]]) / 2
    two = kkt_ref.MLP((*one.weights[:-1], last), one.biases)
    y, lam = np.resize([-1.0, 1.0], len(x)), rng.uniform(size=len(x))
    classes, pairs = np.arange(len(x)) % 2, np.zeros((len(x), 2))
    pairs[np.arange(len(x)), 1 - classes] = lam
    assert np.allclose(kkt_ref.margins(one, x, y), kkt_ref.margins(two, x, classes))
    a = kkt_ref.kkt_report(one, x, y, lam, margin=0.1)
    b = kkt_ref.kkt_report(two, x, classes, pairs, margin=0.1)
    for name in ("primal_feasibility", "dual_feasibility", "complementary_slackness", "delta"):
        assert np.isclose(getattr(a, name), getattr(b, name)), name
    assert np.allclose(a.stationarity.by_layer[:-1], b.stationarity.by_layer[:-1])


@pytest.mark.parametrize("K", [1, 3])
def test_a_linear_network_against_a_hard_margin_svm(K):
    """One layer: the KKT point is the SVM, of several classes Crammer and Singer's, by SLSQP."""
    rng = np.random.default_rng(3)
    n, d = 9, 4
    y = np.arange(n) % 3 if K == 3 else np.resize([-1.0, 1.0], n)
    x = rng.normal(size=(n, d)) + 3.0 * (np.eye(3, d)[y] if K == 3 else y[:, None] * np.eye(1, d))
    constrained = np.ones((n, 1), bool) if K == 1 else np.arange(K) != y[:, None]  # (n, J)
    rows = []
    for i, j in np.argwhere(constrained):
        row = np.zeros((K, d))
        row[y[i] if K == 3 else 0] = x[i] if K == 3 else y[i] * x[i]
        if K == 3:
            row[j] = -x[i]
        rows.append(row.ravel())
    solved = minimize(
        lambda w: (0.5 * w @ w, w), np.ones(K * d), jac=True, method="SLSQP",
        constraints=LinearConstraint(np.array(rows), 1.0, np.inf), options=dict(ftol=1e-15),
    )  # fmt: skip
    net = kkt_ref.MLP((solved.x.reshape(K, d),), (None,))
    active = np.array(rows) @ solved.x < 1.0 + 1e-6
    lam = np.zeros(constrained.shape)
    lam[tuple(np.argwhere(constrained)[active].T)] = nnls(np.array(rows)[active].T, solved.x)[0]
    report = kkt_ref.kkt_report(net, x, y, lam[:, 0] if K == 1 else lam)
    assert abs(report.margin - 1.0) < 1e-6 and report.stationarity.relative < 1e-5
    assert report.complementary_slackness < 1e-5 and report.delta < 1e-5
    assert np.isclose(lam.sum(), solved.x @ solved.x)  # strong duality
    assert kkt_ref.residual_floor(net, x, y).relative < 1e-10
    start = kkt_ref.init_uniform((d, K), rng, bias="none")
    trained = kkt_ref.loss_scaled_descent(start, x, y, target_loss=1e-200).net
    direction = trained.theta / np.linalg.norm(trained.theta)
    assert direction @ solved.x / np.linalg.norm(solved.x) > 1 - 1e-4


@pytest.mark.parametrize("name", LOSSES)
def test_the_pull_of_a_loss_is_its_negative_slope(name):
    rng, loss = np.random.default_rng(0), LOSSES[name]
    K = 1 if name == "logistic" else 3
    outputs = 2.0 * rng.normal(size=(6, K))
    y = np.sign(rng.normal(size=6)) if K == 1 else targets(name, 6, K, rng)
    for c in range(K):
        step = 1e-6 * np.eye(K)[c]
        slope = (loss.value(outputs + step, y) - loss.value(outputs - step, y)) / 2e-6
        assert np.allclose(loss.pull(outputs, y)[:, c], -slope, atol=1e-8)


def test_cross_entropy_is_that_of_the_softmax():
    outputs, y = 5.0 * np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 4
    loss, shares = LOSSES["cross_entropy"], softmax(outputs, axis=1)
    assert np.allclose(loss.value(outputs, y), -np.log(shares[np.arange(40), y]))
    assert np.allclose(loss.pull(outputs, y), np.eye(4)[y] - shares)


@pytest.mark.parametrize("name, K", [("logistic", 1), ("cross_entropy", 3), ("mse", 2),
                                     ("huber", 1)])  # fmt: skip
@pytest.mark.parametrize("bias", ["first", "all"])
def test_weight_decay_ends_where_the_outputs_explain_the_weights(name, K, bias):
    depth = 3 if bias == "all" else 2
    net, x, rng = drawn(K, depth=depth, n=12, bias=bias, activation=kkt_ref.Softplus(3.0))
    y = np.resize([-1.0, 1.0], 12) if name == "logistic" else targets(name, 12, K, rng)
    done = weight_decay_optimum(net, x, y, loss=name, decay=1e-2, tolerance=1e-6)
    assert done.converged, done.stop_reason
    given_, found = (
        weight_decay_stationarity(done.net, x, y, loss=name, decay=decay) for decay in (1e-2, None)
    )
    assert given_.stationarity.relative < 2e-6 and np.isclose(found.decay, 1e-2, rtol=1e-4)
    assert np.allclose(given_.multipliers, done.multipliers)
    if name == "cross_entropy":
        assert not done.multipliers[np.arange(12), y].any()
    problem = Regression() if name in ("mse", "huber") else None
    norms = kkt_ref.kkt.stationarity_norms(done.net, x, y, done.multipliers, problem=problem)
    assert norms.relative < 2e-6  # the same multipliers solve the max-margin form of the equation
    other = weight_decay_stationarity(done.net, x, y, loss=name, decay=2e-2)
    assert np.isclose(other.stationarity.relative, 0.5, rtol=1e-4)
    if name == "logistic":  # no decay explains weights that are as if all labels were wrong
        none = weight_decay_stationarity(done.net, x, -y, loss=name)
        assert none.decay is None and not none.multipliers.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cross_entropy", "mse", "huber"])
@pytest.mark.parametrize("biased", [True, False])
def test_networks_that_pytorch_trained_with_weight_decay(name, biased):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; CI has it")
    torch.manual_seed(0)
    nn, mu = torch.nn, 1e-2
    smooth = nn.Softplus(beta=4.0)
    module = nn.Sequential(
        nn.Linear(4, 8), smooth, nn.Linear(8, 6, bias=biased), smooth, nn.Linear(6, 3, bias=biased)
    ).double()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 4)), targets(name, 15, 3, rng)
    loss = {"cross_entropy": nn.CrossEntropyLoss(), "mse": nn.MSELoss(), "huber": nn.HuberLoss()}
    here, there = torch.from_numpy(x), torch.from_numpy(y)
    descent = torch.optim.SGD(
        module.parameters(), lr=0.05, momentum=0.99, nesterov=True, weight_decay=mu
    )
    for _ in range(12_000):
        descent.zero_grad()
        loss[name](module(here), there).backward()
        descent.step()
    state = {k: v.numpy() for k, v in module.state_dict().items()}
    net = kkt_ref.from_state_dict(state, kkt_ref.Softplus(4.0))
    assert weight_decay_stationarity(net, x, y, loss=name, decay=mu).stationarity.relative <= 1e-5
    assert np.isclose(weight_decay_stationarity(net, x, y, loss=name).decay, mu, rtol=1e-4)


@pytest.mark.parametrize("K", [1, 3])
def test_the_published_attack_on_regression_has_multipliers_of_any_sign(K):
    net, _, _ = drawn(K, depth=2, n=12, activation=kkt_ref.ReLU())
    found = kkt_ref.attacks.reconstruct_paper(
        net, 9, restarts=2, max_iterations=30, problem=Regression()
    )
    assert np.any(found.multipliers < 0) and np.any(found.multipliers > 0)
    last = found.of_run(1)
    assert len(last.labels) == len(last.candidates) == 9 and last.runs[0].residual < 1.0
