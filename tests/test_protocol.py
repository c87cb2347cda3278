"""A network that a user brings: everything that asks for Φ and ∇θΦ works as for the MLP."""

from dataclasses import dataclass
from unittest import mock

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad

import kkt_ref
from kkt_ref.attacks import multiplier_scores
from kkt_ref.kkt import equation
from kkt_ref.kkt.weight_decay import weight_decay_stationarity
from kkt_ref.network import Network
from kkt_ref.stationarity import RunnerUp
from kkt_ref.training import weight_decay_optimum
from tests.strategies import error


@dataclass(frozen=True)
class TwoLayers(Network):
    """V softplus(W x + b), which the MLP has too, with the five members that a user writes."""

    parts: tuple

    @property
    def layers(self):
        return self.parts[:2], self.parts[2:]

    @property
    def d(self):
        return self.parts[0].shape[1]

    def with_arrays(self, arrays):
        return TwoLayers(tuple(arrays))

    def outputs(self, x):
        W, b, V = self.parts
        return anp.dot(anp.logaddexp(0.0, 3.0 * (anp.dot(x, W.T) + b)) / 3.0, V.T)

    def weighted_gradient(self, x, coefficients):
        return grad(lambda parts: anp.sum(coefficients * TwoLayers(parts).outputs(x)))(self.parts)


def both(K):
    rng = np.random.default_rng(K)
    mlp = kkt_ref.init_uniform((4, 8, K), rng, activation=kkt_ref.Softplus(3.0))
    x = rng.normal(size=(7, 4))
    y = np.arange(7) % 3 if K == 3 else np.resize([-1.0, 1.0], 7)
    return mlp, TwoLayers(mlp.arrays), x, y, rng.uniform(size=(7, 3) if K == 3 else 7)


@pytest.mark.parametrize("K", [1, 3])
def test_it_has_the_definition_the_conditions_and_the_fits_of_the_mlp(K):
    mlp, net, x, y, lam = both(K)
    assert net.K == K and net.depth == 2 and np.array_equal(net.scaled(2.0).theta, 2 * mlp.theta)
    assert net.layer_slices == mlp.layer_slices
    ours, theirs = (kkt_ref.stationarity_by_autograd(each, x, y, lam) for each in (net, mlp))
    for a, b in zip(ours, theirs, strict=True):
        assert error(a, b) < 1e-12
    weights = (0.5, 1.0)
    loss = kkt_ref.stationarity_loss(mlp, x, y, lam, weights)
    assert error(kkt_ref.stationarity_loss(net, x, y, lam, weights), loss) < 1e-12
    assert error(kkt_ref.margins(net, x, y), kkt_ref.margins(mlp, x, y)) < 1e-12
    fit = kkt_ref.fit_multipliers(mlp, x, y)
    assert error(kkt_ref.fit_multipliers(net, x, y), fit) < 1e-8
    with mock.patch.object(equation, "LARGEST_MATRIX", 0):
        assert error(kkt_ref.fit_multipliers(net, x, y), fit) < 1e-3
    for a, b in zip(*(multiplier_scores(each, x, y) for each in (net, mlp)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    floors = [kkt_ref.residual_floor(each, x, y).by_layer for each in (net, mlp)]
    assert np.allclose(*floors, rtol=1e-10)
    for problem, given in [(None, lam), (RunnerUp(), None)][: 1 + (K > 1)]:
        kind = dict(margin=0.3, problem=problem)
        reports = [kkt_ref.kkt_report(each, x, y, given, **kind) for each in (net, mlp)]
        assert np.allclose(reports[0][1:8], reports[1][1:8], rtol=1e-7)
    assert reports[0].warnings == () != reports[1].warnings  # the MLP knows that it is smooth at 0


@pytest.mark.parametrize("K", [1, 3])
def test_it_trains_as_the_mlp_does(K):
    mlp, net, x, y, _ = both(K)
    for train in (kkt_ref.gradient_descent, kkt_ref.loss_scaled_descent):
        ours, theirs = (train(each, x, y, max_steps=30) for each in (net, mlp))
        assert isinstance(ours.net, TwoLayers) and error(ours.net.theta, theirs.net.theta) < 1e-10
        assert np.array_equal(net.theta, mlp.theta)  # the start has not changed
    done = weight_decay_optimum(net, x, y, decay=1e-2, tolerance=1e-6)
    fit = weight_decay_stationarity(done.net, x, y, loss="logistic" if K == 1 else "cross_entropy")
    assert done.converged and np.isclose(fit.decay, 1e-2, rtol=1e-3)
    assert fit.stationarity.relative < 2e-6


def test_what_needs_an_mlp_and_what_is_no_network_is_named():
    _, net, x, y, _ = both(1)
    with pytest.raises(TypeError, match="net: expected a kkt_ref.MLP, got TwoLayers"):
        kkt_ref.reconstruct(net)
    with pytest.raises(TypeError, match="net: expected a kkt_ref.MLP, or a network of your own"):
        kkt_ref.margins(net.parts, x, y)
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (Network,), {"d": 3})()
