"""One to one matching, the authors' scoring, and scores beside those of unseen images."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kkt_ref.metrics import (
    HAIM,
    Matching,
    match_one_to_one,
    ncc_all_pairs,
    score_candidates,
    structural_similarity,
)
from tests.strategies import picture

tables = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=5),
    elements=st.integers(-8, 8).map(lambda k: k / 8),
)


def best_total(scores):
    if len(scores) > scores.shape[1]:
        scores = scores.T
    rows = np.arange(len(scores))
    return max(
        scores[rows, list(p)].sum() for p in permutations(range(scores.shape[1]), len(scores))
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
    assert found.score[matched].sum() == pytest.approx(best_total(scores))
    shuffled = match_one_to_one(scores[:, np.random.default_rng(seed).permutation(m)])
    assert shuffled.score[shuffled.candidate >= 0].sum() == found.score[matched].sum()


def test_counts_include_the_threshold_and_means_count_the_unmatched_as_zero():
    found = Matching(np.array([2, -1, 0]), np.array([0.8, -np.inf, 0.4]))
    assert found.count(0.8) == 1
    assert found.count(0.81) == 0
    assert found.top_mean(1) == 0.8
    assert found.top_mean(10) == pytest.approx(1.2 / 3)


SHAPE = (3, 16, 16)


def pictures(numbers):
    return np.stack([picture(k).ravel() for k in numbers])  # (n, 768)


MEAN = pictures(range(9)).mean(axis=0)
IMAGES = pictures(range(4)) - MEAN
NEAR = [k + 0.15 for k in range(6)] + [k + 0.2 for k in range(6)] + [8, 9]
CANDIDATES = pictures(NEAR) - MEAN

# torch 2.13.0+cpu and kornia 0.9.0, 2026-11-23, on the arrays above as a: (n, 3, 16, 16)
#   z = (a - a.mean((2, 3), keepdim=True)) / a.std((2, 3), keepdim=True)
#   D = torch.cdist(z(images), z(candidates)).square() / z[0].numel();  nearest, index = D.min(1)
#   kornia.metrics.ssim(candidates[index] + mean, stretched, images + mean, window_size=3)
AUTHORS_DISTANCE = [0.101067684132179, 0.16608577992376702, 0.538449957106459, 0.5312320286418969]
AUTHORS_SSIM = [0.9266943487280256, 0.8493261466632971, 0.7089854139610926, 0.5814918243599978]


def by_channel(images):
    z = images.reshape(-1, 3, 256)
    return ((z - z.mean(axis=2, keepdims=True)) / z.std(axis=2, keepdims=True)).reshape(-1, 768)


def test_golden_numbers_of_the_authors_scoring():
    """Every image takes the nearest candidate; they standardise each channel."""
    scores = ncc_all_pairs(by_channel(IMAGES), by_channel(CANDIDATES))
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]
    distance = 2 * (1 - 1 / 256) * (1 - scores.max(axis=1))
    np.testing.assert_allclose(distance, AUTHORS_DISTANCE, rtol=0, atol=1e-9)
    found = haim_ssim(IMAGES + MEAN, CANDIDATES[:4] + MEAN)
    np.testing.assert_allclose(found, AUTHORS_SSIM, rtol=0, atol=1e-9)


def noisy_copies(seed=0, n=12):
    """Images, unseen images, and candidates: faithful copies of images 0-4, and junk."""
    rng = np.random.default_rng(seed)
    images, unseen = rng.standard_normal((2, n, 768)) / 4
    copies = images[:5] + 0.02 * rng.standard_normal((5, 768))
    return images, unseen, np.concatenate([copies, rng.standard_normal((9, 768)) / 4])


def test_scores_count_copies_and_chance_beside_them():
    images, unseen, candidates = noisy_copies()
    found = score_candidates(images, candidates, unseen, mean=np.full(768, 0.5), shape=SHAPE)
    assert found.data.ncc_08 == found.data.ncc_09 == 5
    assert found.unseen.ncc_08 == found.unseen.ssim_04 == 0


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
    images, unseen, _ = noisy_copies(n=5)
    noise = np.array([[0.02], [0.05], [0.3], [0.4], [0.5]])
    candidates = images + noise * np.random.default_rng(1).standard_normal(images.shape)
    mean = np.linspace(0, 1, 768)
    found = score_candidates(images, candidates, unseen, mean=mean, shape=SHAPE)
    expected = haim_ssim(images + mean, candidates + mean)
    assert found.data.ssim_top10 == pytest.approx(expected.mean(), abs=1e-12)
    assert found.data.ssim_04 == (expected >= 0.4).sum() == 3
    assert found.data.ncc_top10 == pytest.approx(np.diag(ncc_all_pairs(images, candidates)).mean())


@given(seed=st.integers(0, 2**16))
def test_scores_do_not_depend_on_order(seed):
    images, unseen, candidates = noisy_copies()
    rng = np.random.default_rng(seed)
    known = {"mean": np.zeros(768), "shape": SHAPE}
    found = score_candidates(images, candidates, unseen, **known)
    shuffled = rng.permutation(candidates)
    again = score_candidates(rng.permutation(images), shuffled, rng.permutation(unseen), **known)
    np.testing.assert_allclose(np.ravel(again), np.ravel(found), rtol=0, atol=1e-12)
