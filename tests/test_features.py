"""Images from a CNN by sparse features: on exact rows, and what the attack refuses."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref.attacks.features import reconstruct_features
from kkt_ref.metrics import match_one_to_one, ncc_all_pairs
from kkt_ref.network import init_cnn


def test_images_come_back_out_of_exact_rows():
    """The rows of the dense layer are sums of the features of three images, and nothing else."""
    rng = np.random.default_rng(0)
    net = init_cnn((1, 8, 8), [(40, 4, 2, 1)], [30, 1], rng)
    x = rng.normal(size=(3, 64))
    features = net.run(net.arrays, x)[1][1][:, :, 0]  # (3, F)
    net = net.with_arrays([*net.arrays[:2], rng.normal(size=(30, 3)) @ features, net.weights[1]])
    found = reconstruct_features(net, starts=12, features=200)
    assert found.shape == (12, 64)
    scores = match_one_to_one(ncc_all_pairs(x, found)).score
    assert scores.min() > 0.999
    again = reconstruct_features(net, starts=12, features=200)
    assert np.array_equal(found, again)
    assert not np.array_equal(found, reconstruct_features(net, starts=12, features=200, seed=1))


def test_other_networks_are_refused():
    rng = np.random.default_rng(0)
    net = init_cnn((1, 6, 6), [(2, 2, 2, 1)], [3, 1], rng)
    with pytest.raises(TypeError, match="net: expected a CNN with ReLU"):
        reconstruct_features(kkt_ref.init_uniform((3, 2, 1), rng))
    with pytest.raises(TypeError, match="net: expected a CNN with ReLU"):
        reconstruct_features(net.with_activation(kkt_ref.Softplus(3.0)))
    pooled = init_cnn((1, 6, 6), [(2, 3, 1, 2)], [1], rng)
    with pytest.raises(ValueError, match="net: expected one convolution without pooling"):
        reconstruct_features(pooled)
    for name, value in dict(starts=0, features=1, seed=-1).items():
        with pytest.raises(ValueError, match=f"{name}: expected an integer"):
            reconstruct_features(net, **{name: value})
