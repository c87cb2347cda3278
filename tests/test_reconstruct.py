"""The result that all attacks share, and the one door that chooses among them."""

from functools import partial

import numpy as np
import pytest

import kkt_ref
from kkt_ref import attacks
from kkt_ref.attacks.base import predicted_labels
from tests.networks import twelve_points


def untrained(*widths):
    return kkt_ref.init_uniform(widths, np.random.default_rng(2))


ATTACKS = {
    "plane": lambda net, watch: attacks.reconstruct_plane(net, step=0.06, callback=watch),
    "paper": lambda net, watch: attacks.reconstruct_paper(
        net, 12, restarts=2, max_iterations=50, callback=watch
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_run_is_measured_with_the_networks_own_gates(name):
    net, seen = twelve_points()[0], []

    def watch(stage, run, x, multipliers):
        seen.append((run, x.shape, multipliers.shape))
        x.fill(np.nan)  # the attack goes on with its own arrays
        multipliers.fill(np.nan)

    found = ATTACKS[name](net, watch)
    for index, run in enumerate(found.runs):
        one = found.of_run(index)
        assert one.runs == (run,) and len(one.labels) == np.sum(found.run_index == index)
        measured = kkt_ref.kkt.stationarity_norms(net, one.candidates, one.labels, one.multipliers)
        assert np.isclose(run.residual, measured.relative) and not one.run_index.any()
        assert np.allclose(run.by_layer, measured.by_layer)
        assert run.steps >= 0 and run.stop_reason.endswith(".")
    assert found.runs[found.best].objective == min(run.objective for run in found.runs)
    assert {run for run, *_ in seen} == set(range(len(found.runs)))
    assert all(x == (*lam, 2) for _, x, lam in seen)
    with pytest.raises(ValueError, match="index: expected a run below"):
        found.of_run(len(found.runs))


def test_labels_are_signs_and_zero_counts_as_one_of_them():
    assert predicted_labels(np.array([[-2.0], [0.0], [3.0]])).tolist() == [-1.0, 1.0, 1.0]
    assert predicted_labels(np.array([[-2.0, -1.0], [3.0, 0.0]])).tolist() == [1, 0]


def test_the_attack_follows_from_the_network_and_gets_what_it_uses(monkeypatch):
    asked = {}
    for name in ("reconstruct_plane", "reconstruct_first_layer"):
        record = partial(lambda name, net, **used: asked.update({name: used}), name)
        monkeypatch.setattr(attacks, name, record)
    plane, box = untrained(2, 10, 1), (-1.0, 2.0)
    kkt_ref.reconstruct(plane, callback=print)
    assert asked == {"reconstruct_plane": dict(box=(-1.5, 1.5), callback=print)}
    kkt_ref.reconstruct(plane, box=box)
    assert asked == {"reconstruct_plane": dict(box=box, callback=None)}
    asked.clear()
    used = dict(restarts=2, seed=3, callback=print, workers=1)
    kkt_ref.reconstruct(untrained(3, 8, 1), m=5, **used)
    assert asked == {"reconstruct_first_layer": dict(candidates=5, **used)}
