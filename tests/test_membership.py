"""Membership from the weights: against a plain definition, and against a null."""

import numpy as np
import pytest
import scipy

import kkt_ref
from kkt_ref.attacks import membership_scores, multiplier_scores
from kkt_ref.metrics import roc


def trained(K=1, d=30, h=60, n=20, others=200, seed=0):
    """A small network, its training samples, and others of the same distribution."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + others, d)) * np.geomspace(2, 0.3, d)
    y = np.resize([-1.0, 1.0], n) if K == 1 else np.arange(n) % K
    start = kkt_ref.init_paper((d, h, h, K), rng, first_layer=1e-3)
    return kkt_ref.loss_scaled_descent(start, x[:n], y, target_loss=1e-5).net, x, y


def trained_by_steps(K=3, n=30, others=200):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + others, 20))
    y = np.arange(n + others) % K if K > 1 else np.resize([-1.0, 1.0], n + others)
    start = kkt_ref.init_uniform((20, 60, K), rng, bias="all")
    return kkt_ref.gradient_descent(start, x[:n], y[:n], step=0.3, max_steps=400).net, x, y


def by_first_layer(net, x, y):
    return membership_scores(net, x)


@pytest.mark.parametrize("K", [1, 4])
def test_training_samples_stand_out(K):
    net, x, y = trained(K)
    for evidence in membership_scores(net, x):
        assert roc(evidence[:20], evidence[20:]).auc > 0.9
    loss = -kkt_ref.margins(net, x[:20], y)  # as score it says little: all are classified well
    assert np.ptp(loss) < np.ptp(membership_scores(net, x).score[:20])


@pytest.mark.parametrize("K", [1, 3])
def test_training_samples_stand_out_by_their_multipliers(K):
    for evidence in multiplier_scores(*trained_by_steps(K)):
        assert roc(evidence[:30], evidence[30:]).auc > 0.8


@pytest.mark.parametrize(
    "scores, K, scales",
    [(by_first_layer, 1, np.geomspace(2, 0.1, 12)), (multiplier_scores, 3, np.ones(12))],
)
def test_untrained_network_tells_nothing(scores, K, scales):
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        net = kkt_ref.init_uniform((12, 20, K), rng)
        found = scores(net, rng.normal(size=(60, 12)) * scales, np.arange(60) % 3).score
        p_values.append(roc(found[:30], found[30:]).p_all)
    assert np.mean(np.array(p_values) < 0.05) < 0.15 and max(p_values) > 0.5


@pytest.mark.parametrize(
    "scores, made, rtol, atol",
    [(by_first_layer, trained, 1e-2, 1e-2), (multiplier_scores, trained_by_steps, 1e-6, 1e-9)],
)
def test_all_samples_are_treated_alike(scores, made, rtol, atol):
    net, x, y = made()
    y = np.resize(y, len(x))
    order = np.random.default_rng(1).permutation(len(x))
    pairs = zip(scores(net, x, y), scores(net, x[order], y[order]), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one[order], other, rtol=rtol, atol=atol)


def test_signal_is_the_plain_fit_of_rank_one_matrices():
    net, x, _ = trained(others=40)
    rows = np.column_stack([x, np.ones(len(x))])
    W = np.column_stack([net.weights[0], net.biases[0]])
    sigma = np.sqrt(np.median(np.linalg.svd(W, compute_uv=False) ** 2))
    right = scipy.linalg.inv(scipy.linalg.sqrtm(W.T @ W + sigma**2 * np.eye(31)).real)
    atoms = []
    for i, gradient in enumerate(kkt_ref.per_sample_gradients(net, x)):
        delta = gradient[60 * 30 : 60 * 31] * np.sign(kkt_ref.margins(net, x[i : i + 1], [1.0]))
        atom = np.outer(delta, rows[i] @ right)
        atoms.append(atom.ravel() / np.linalg.norm(atom))
    atoms = np.stack(atoms, axis=1)  # (h (d + 1), n)
    target = (W @ right).ravel()
    multipliers, _ = scipy.optimize.nnls(atoms, target)
    rest = atoms.T @ (target - atoms @ multipliers) + multipliers
    np.testing.assert_allclose(membership_scores(net, x).signal, rest, atol=2e-3)


def test_span_is_a_ratio_of_densities_of_directions():
    net, x, _ = trained()
    net = kkt_ref.MLP(net.weights, (None, None, None))
    squares, V = np.linalg.eigh(net.weights[0].T @ net.weights[0])
    variance = np.mean((x @ V) ** 2, axis=0)
    variance += 1e-3 * variance.mean()
    floor = 0.01 * np.median(squares)
    trained_on = [row @ np.linalg.solve(V @ np.diag(squares + floor) @ V.T, row) for row in x]
    ratio = np.log(np.sum((x @ V) ** 2 / variance, axis=1)) - np.log(trained_on)
    np.testing.assert_allclose(membership_scores(net, x).span, ratio, rtol=1e-8)


def test_the_multiplier_is_that_of_ridge_regression_in_its_standard_deviations():
    net, x, y = trained_by_steps()
    Phi, rows = net.outputs(x), np.arange(len(x))
    wrong = np.exp(Phi) * (np.arange(3) != y[:, None])
    U = np.eye(3)[y] - wrong / wrong.sum(axis=1, keepdims=True)
    g, theta = kkt_ref.per_sample_gradients(net, x, U), net.theta.copy()
    for s in net.layer_slices:
        g[:, s], theta[s] = (v / np.sqrt(np.mean(net.theta[s] ** 2)) for v in (g[:, s], theta[s]))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    tall = np.vstack([g.T, 0.1 * np.eye(len(g))])  # ρ = 0.01
    lam = np.linalg.lstsq(tall, np.append(theta, np.zeros(len(g))))[0]
    deviation = np.sqrt(np.diag(np.linalg.inv(tall.T @ tall)))
    found = multiplier_scores(net, x, y)
    np.testing.assert_allclose(found.multiplier, lam / deviation, rtol=1e-6)
    loss = np.log(np.exp(Phi).sum(axis=1)) - Phi[rows, y]
    assert np.array_equal(np.argsort(found.margin), np.argsort(-loss))


def test_an_mlp_is_scored_where_samples_lie_on_kinks():
    rng = np.random.default_rng(0)
    net, x = kkt_ref.init_uniform((4, 1, 3), rng, bias="all"), rng.normal(size=(8, 4))
    (w,), b = net.layers[0]
    x -= np.outer(x @ w + b, w) / (w @ w)
    assert np.isfinite(multiplier_scores(net, x, np.arange(8) % 3).score).all()
