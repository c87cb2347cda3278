"""Independent components: the loss and its slopes, exact cases, the mean, and real images."""

import autograd
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kkt_ref
from kkt_ref.attacks.components import (
    BLOCK,
    component_loss,
    differences,
    slopes_of_loss,
    span_of_images,
)
from kkt_ref.datasets.images import embedded_images
from kkt_ref.datasets.split import binary_split
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs
from tests.networks import trained_on_images
from tests.strategies import error

SHAPE = (2, 15, 15)


def patches(count, rng):
    """Images whose edges never meet: the i-th is a random patch in its own 3 x 3 field."""
    x = np.zeros((count, *SHAPE))
    for i in range(count):
        row, column = 5 * (i // 3) + 1, 5 * (i % 3) + 1
        x[i, :, row : row + 3, column : column + 3] = rng.normal(size=(SHAPE[0], 3, 3))
    return x.reshape(count, -1)


def holding(x, rng, h=40, noise=1e-9):
    """A network with the images (n, d) in its first layer, W_1 = noise + Σ a_i x_iᵀ."""
    a = rng.normal(size=(h, len(x)))
    W = a @ x + noise * rng.normal(size=(h, x.shape[1]))
    return kkt_ref.MLP((W, rng.normal(size=(1, h))), (a.sum(axis=1), None))


def best_ncc(images, candidates):
    return match_one_to_one(ncc_all_pairs(images, candidates)).score


@settings(max_examples=15)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 3), st.integers(3, 5), st.integers(3, 5)),
    st.integers(1, 6),
)
@example(0, (2, 3, 3), BLOCK + 1)
def test_the_closed_form_is_the_derivative_of_the_definition(seed, shape, k):
    rng, d = np.random.default_rng(seed), int(np.prod(shape))
    where = rng.normal(size=(k, k)), rng.normal(size=k), rng.normal(size=d)
    V = rng.normal(size=(k, d))
    D = differences(shape).astype(float)
    loss, *slopes = slopes_of_loss(*where, V, D, shape[0])
    assert np.isclose(loss, component_loss(*where, V, shape), rtol=1e-10)
    for slope, true in zip(
        slopes, autograd.grad(component_loss, (0, 1, 2))(*where, V, shape), strict=True
    ):
        assert error(slope, true) < 1e-9


def test_images_whose_edges_never_meet_are_recovered_exactly():
    rng, seen = np.random.default_rng(0), []
    x = patches(9, rng)
    net, order = holding(x, rng), rng.permutation(40)
    W, v = net.weights
    other = kkt_ref.MLP((1e-3 * W[order], v[:, order]), (1e-3 * net.biases[0][order], None))
    options = dict(image_shape=SHAPE, workers=1)
    for same in (net, other.astype(np.float32)):  # order, size and precision do not matter
        found = kkt_ref.reconstruct(
            same, restarts=2, callback=lambda *e: seen.append((*e[:2], e[2].shape)), **options
        )
        assert best_ncc(x, found.candidates).min() > 1 - 1e-6
        assert np.all(found.agreement[:18] > 1 - 1e-4)
        assert np.array_equal(found.candidates[::2], -found.candidates[1::2])
        assert np.allclose(np.linalg.norm(found.candidates, axis=1), 0.25 * np.sqrt(450))
        assert found.candidates.shape == found.pictures.shape
        assert len(found.labels) == len(found.multipliers) == len(found.run_index)
        assert np.all(found.multipliers >= 0) and 0 < found.runs[0].residual < 1
    assert seen == 2 * [("components", run, (9, 450)) for run in (0, 1)]
    seed_1 = kkt_ref.reconstruct(other.astype(np.float32), restarts=1, seed=1, **options)
    assert seed_1.runs[0].objective not in [run.objective for run in found.runs]


def test_normal_noise_is_not_separated():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9, 450))
    found = kkt_ref.reconstruct(holding(x, rng), image_shape=SHAPE)
    assert np.sum(best_ncc(x, found.candidates) > 0.9) <= 1
    assert np.median(found.agreement) < 0.9


@pytest.mark.parametrize("known", [True, False])
def test_the_mean_of_digits_is_found_or_used(known):
    split, rng = binary_split(embedded_images("mnist"), 40), np.random.default_rng(4)
    found = kkt_ref.attacks.reconstruct_components(
        holding(split.x, rng, h=200, noise=1e-3),
        image_shape=split.shape,
        mean=split.mean if known else None,
        restarts=1,
    )
    assert np.sum(best_ncc(split.x, found.candidates) > 0.9) >= 20
    assert np.sum(best_ncc(split.x + split.mean, found.pictures) > 0.95) >= 20


def test_the_rank_is_that_of_what_training_added():
    rng = np.random.default_rng(5)
    for h, d in ((300, 450), (450, 300), (60, 450)):
        W = rng.normal(size=(h, 20)) @ rng.normal(size=(20, d)) + 0.5 * rng.normal(size=(h, d))
        V = span_of_images(W)
        assert V.shape == (20, d)
        assert np.allclose(V @ V.T, np.eye(20), atol=1e-8)
    with pytest.raises(ValueError, match="net: the singular values of the first layer"):
        span_of_images(rng.uniform(-1, 1, (300, 450)))


@pytest.mark.slow
def test_fastica_of_scikit_learn_finds_fewer_images():
    decomposition = pytest.importorskip("sklearn.decomposition")
    split, net = trained_on_images("mnist")
    V = span_of_images(net.weights[0])
    D = differences(split.shape)
    ica = decomposition.FastICA(whiten="unit-variance", random_state=0, max_iter=1000, tol=1e-6)
    ica.fit(D @ V.T.astype(float))  # places are samples, directions are features
    theirs = ica.components_ @ V
    ours = kkt_ref.reconstruct(net, image_shape=split.shape).candidates
    counts = [
        np.sum(best_ncc(split.x, np.concatenate([x, -x])) >= 0.8) for x in (theirs, ours[::2])
    ]
    assert 3 <= counts[0] <= counts[1]
