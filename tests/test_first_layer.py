"""The whitened first-layer equation against the definition by autograd."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks.first_layer import FirstLayer, distinct
from kkt_ref.attacks.paper import with_gates


def network(widths=(6, 15, 9, 1), bias="first", seed=0):
    return kkt_ref.init_uniform(widths, np.random.default_rng(seed), bias=bias)


def gated(net, problem):
    """The network with gates σ(αz), where α|z| is 30 for typical candidates of full rank."""
    z = problem.norm / np.sqrt(problem.k) * np.linalg.norm(net.weights[0], axis=1)
    return with_gates(net, 30.0 / np.sqrt(np.mean(z**2)))


@pytest.mark.parametrize("bias", ["first", "none"])
@pytest.mark.parametrize("widths", [(6, 15, 9, 1), (12, 5, 1), (4, 20, 8, 8, 1), (6, 15, 9, 3)])
def test_whitening_is_the_stated_weight_of_the_residual(bias, widths):
    net, rng = network(widths, bias=bias).scaled(6.0), np.random.default_rng(2)
    left = right = 0.1 if net.K == 1 else 0.3
    problem = FirstLayer(net)
    assert problem.k == min(widths[:2])
    a = problem.normalised(rng.normal(size=(5, problem.k)))
    lam = rng.uniform(0, 0.1, 5).astype(np.float32)
    atoms = problem.atoms(a)
    whitened = problem.target - (lam[:, None] * atoms.signals).T @ atoms.inputs

    W, unit = net.weights[0], problem.unit  # of W_1 and λ
    y = atoms.labels.astype(float if net.K == 1 else int)
    residual = kkt_ref.stationarity.stationarity_residual(
        gated(net, problem), problem.inputs(a), y, problem.shared(unit * lam).astype(float)
    )
    R = residual[: W.size].reshape(W.shape)
    values, vectors = np.linalg.eigh(W @ W.T)
    top = values.max()
    neurons = (vectors * (values.clip(0) + left**2 * top) ** -0.5) @ vectors.T
    values, vectors = np.linalg.eigh(W.T @ W)
    inputs = (vectors * (values.clip(0) + right**2 * top) ** -0.5) @ vectors.T
    expected = unit * np.linalg.norm(neurons @ R @ inputs)
    assert np.linalg.norm(whitened[:, :-1]) == pytest.approx(expected, rel=1e-4)
    if bias == "none":
        assert not problem.target[:, -1].any()
    else:
        b, r = net.biases[0], residual[W.size : W.size + len(W)]
        weighed = unit * neurons @ r / np.sqrt(b @ b + right**2 * top)
        assert np.allclose(whitened[:, -1], weighed, rtol=1e-3, atol=1e-4 * np.linalg.norm(weighed))


@pytest.mark.parametrize("K", [1, 3])
def test_the_equation_is_computed_in_single_precision(K):
    net = network((6, 15, 9, K)).with_activation(kkt_ref.GatedReLU(np.float64(20.0)))
    problem = FirstLayer(net)
    atoms = problem.atoms(problem.normalised(np.ones((3, problem.k))))
    assert {part.dtype for part in (*atoms, problem.target)} == {np.dtype(np.float32)}


def test_candidates_have_the_common_norm_and_a_label_and_coordinates_invert():
    net = network()
    problem = FirstLayer(net)
    a = problem.normalised(np.random.default_rng(3).normal(size=(5, 6)) * 10)
    assert np.allclose(np.linalg.norm(problem.inputs(a), axis=1), 0.25 * np.sqrt(6), rtol=1e-5)
    back = problem.normalised(problem.whitened(a) / problem.weights)
    assert np.allclose(back, a, rtol=1e-4, atol=1e-5)
    silent = FirstLayer(net.with_arrays([*net.arrays[:-1], 0 * net.arrays[-1]]))
    assert np.all(silent.atoms(a).labels == 1)  # as Φ(x) = 0


def test_rank_stops_where_the_noise_begins():
    rng = np.random.default_rng(5)
    net = network((30, 40, 1))
    low_rank = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 30))
    net = net.with_arrays([low_rank + 1e-5 * rng.normal(size=(40, 30)), *net.arrays[1:]])
    assert FirstLayer(net).k == 3 and FirstLayer(net).default_candidates == 9


def test_distinct_candidates_are_the_first_hundred_that_are_not_alike():
    x = np.array([[3.0, 0], [-1, 0], [1, 1], [0.6, 1], [0, 5], [5, 0.1]])  # cosines of 0.71, 0.51
    assert np.array_equal(distinct(x), x[[0, 3]])
    assert np.array_equal(distinct(np.eye(120)), np.eye(120)[:100])
