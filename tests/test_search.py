"""The search without data: drawn from one seed, on disk, resumable."""

import numpy as np
import pytest

import kkt_ref
from kkt_ref._io import OtherRunError
from kkt_ref.attacks.search import draw_settings, random_search

NET = kkt_ref.init_uniform((3, 12, 1), np.random.default_rng(0))
ARGUMENTS = dict(candidates=6, seed=0, iterations=15)


def test_a_search_goes_on_where_it_stopped(tmp_path):
    seen = []
    whole = random_search(NET, tmp_path / "a", trials=4, callback=seen.append, **ARGUMENTS)
    assert [trial.number for trial in seen] == [0, 1, 2, 3]
    assert [t.agreement for t in whole] == sorted((t.agreement for t in whole), reverse=True)
    random_search(NET, tmp_path / "b", trials=2, **ARGUMENTS)
    more = []
    parts = random_search(NET, tmp_path / "b", trials=4, callback=more.append, **ARGUMENTS)
    assert [trial.number for trial in more] == [2, 3] and parts == whole
    with np.load(tmp_path / "a" / "trial_0003.npz", allow_pickle=False) as arrays:
        assert arrays["candidates"].shape == (12, 3)


def test_draws_depend_on_seed_and_number_and_stay_in_range():
    draws = [
        draw_settings(NET, candidates=6, iterations=100, seed=seed, number=number)
        for seed in (0, 1)
        for number in range(20)
    ]
    assert len({draw.alpha for draw in draws}) == 40
    unit = np.sum(NET.weights[0] ** 2) / 6
    for draw in draws:
        assert 10 <= draw.iterations <= 100 and 1e-3 <= draw.start <= 1
        assert 0 <= draw.lambda_min <= 0.05 * unit


def test_another_search_and_damage_are_named(tmp_path):
    random_search(NET, tmp_path, trials=1, **ARGUMENTS)
    with pytest.raises(OtherRunError, match="candidates 6 instead of 7"):
        random_search(NET, tmp_path, trials=1, **ARGUMENTS | dict(candidates=7))
    with pytest.raises(OtherRunError, match="search"):
        random_search(NET.scaled(2.0), tmp_path, trials=1, **ARGUMENTS)
    (tmp_path / "trial_0000.json").write_text('{"number": 0}')
    with pytest.raises(ValueError, match="trial_0000.json: expected a trial"):
        random_search(NET, tmp_path, trials=1, **ARGUMENTS)
    with pytest.raises(ValueError, match="trials: expected"):
        random_search(NET, tmp_path, trials=0, **ARGUMENTS)
