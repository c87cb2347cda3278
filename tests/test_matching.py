"""One to one matching, the authors' scoring, and scores beside those of unseen images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from kkt_ref.metrics import (
    HAIM,
    Matching,
    match_one_to_one,
    ncc_all_pairs,
    score_candidates,
    stretch,
    structural_similarity,
)

tables = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=5),
    elements=st.integers(-8, 8).map(lambda k: k / 8),
)


@given(scores=tables, seed=st.integers(0, 2**16))
def test_one_to_one_is_optimal_and_uses_no_candidate_twice(scores, seed):
    n, m = scores.shape
    found = match_one_to_one(scores)
    matched = found.candidate >= 0
    assert matched.sum() == min(n, m)
    assert len(set(found.candidate[matched])) == min(n, m)
    assert (found.score[matched] == scores[matched, found.candidate[matched]]).all()
    assert (found.score[~matched] == -np.inf).all()
    rows, columns = min_weight_full_bipartite_matching(csr_array(scores + 2), maximize=True)
    assert found.score[matched].sum() == pytest.approx(scores[rows, columns].sum())
    shuffled = match_one_to_one(scores[:, np.random.default_rng(seed).permutation(m)])
    assert shuffled.score[shuffled.candidate >= 0].sum() == found.score[matched].sum()


def test_counts_include_the_threshold_and_means_count_the_unmatched_as_zero():
    found = Matching(np.array([2, -1, 0]), np.array([0.8, -np.inf, 0.4]))
    assert found.count(0.8) == 1
    assert found.count(0.81) == 0
    assert found.top_mean(1) == 0.8
    assert found.top_mean(10) == pytest.approx(1.2 / 3)


SHAPE = (3, 16, 16)


def test_thresholds_of_ncc():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.c_[np.ones(768), rng.standard_normal((768, 15))])[0].T[1:]  # (15, 768)
    images, others, unseen = basis[:5], basis[5:10], basis[10:]
    correlation = np.array([[0.95], [0.91], [0.89], [0.81], [0.79]])
    candidates = correlation * images + np.sqrt(1 - correlation**2) * others
    found = score_candidates(images, candidates, unseen, mean=np.zeros(768), shape=SHAPE).data
    assert (found.ncc_09, found.ncc_08) == (2, 4)
    assert found.ncc_top10 == pytest.approx(correlation.mean(), abs=1e-12)


def haim_ssim(images, candidates):
    shown = (candidates.T - candidates.min(axis=1)) / np.ptp(candidates, axis=1)  # (d, n)
    pair = (part.reshape(-1, *SHAPE) for part in (shown.T, images))
    return structural_similarity(*pair, data_range=1.0, channel_axis=1, settings=HAIM)


def test_ssim_is_measured_on_the_pairs_of_ncc_with_mean_added_and_stretched():
    rng = np.random.default_rng(1)
    images, unseen = rng.standard_normal((2, 5, 768)) / 4
    noise = np.array([[0.02], [0.05], [0.3], [0.4], [0.5]])
    candidates = images + noise * rng.standard_normal(images.shape)
    mean = np.linspace(0, 1, 768)
    found = score_candidates(images, candidates, unseen, mean=mean, shape=SHAPE)
    expected = haim_ssim(images + mean, candidates + mean)
    assert found.data.ssim_top10 == pytest.approx(expected.mean(), abs=1e-12)
    assert found.data.ssim_04 == (expected >= 0.4).sum() == 3
    assert found.unseen.ncc_08 == found.unseen.ssim_04 == 0
    assert found.data.ncc_top10 == pytest.approx(np.diag(ncc_all_pairs(images, candidates)).mean())
    assert np.array_equal(stretch(np.full((2, 4), 0.3)), np.zeros((2, 4)))  # constant images
