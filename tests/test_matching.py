"""Matching, the authors' pipeline, scores beside unseen images, and ranking without the data."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kkt_ref.metrics import ranking as ranking_module
from kkt_ref.metrics.matching import Matching, match_one_to_one, nearest_candidates, stretch
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.ranking import rank_candidates, ranking_agreement
from kkt_ref.metrics.scores import ImageScores, score_candidates
from kkt_ref.metrics.ssim import HAIM, ssim

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


def test_permuting_candidates_permutes_the_matching():
    rng = np.random.default_rng(0)
    scores, order = rng.random((6, 9)), rng.permutation(9)
    found, shuffled = match_one_to_one(scores), match_one_to_one(scores[:, order])
    assert (order[shuffled.candidate] == found.candidate).all()
    assert (shuffled.score == found.score).all()


def test_one_candidate_that_serves_a_dozen_images_counts_once():
    scores = np.zeros((12, 12))
    scores[:, 5] = 0.9
    assert (scores.max(axis=1) >= 0.8).sum() == 12
    assert match_one_to_one(scores).count(0.8) == 1


def test_duplicates_of_a_candidate_add_no_image():
    scores = np.array([[0.9, 0.1], [0.2, 0.85], [0.3, 0.1]])
    assert match_one_to_one(scores).count(0.8) == 2
    # a copy can stand for a second image only as badly as the original would
    found = match_one_to_one(np.repeat(scores, 3, axis=1))
    assert found.count(0.8) == 2
    assert found.score.tolist() == [0.9, 0.85, 0.3]


def test_counts_include_the_threshold_and_means_count_the_unmatched_as_zero():
    found = Matching(np.array([2, -1, 0]), np.array([0.8, -np.inf, 0.4]))
    assert found.count(0.8) == 1
    assert found.count(0.81) == 0
    assert found.top_mean(1) == 0.8
    assert found.top_mean(10) == pytest.approx(1.2 / 3)


@pytest.mark.parametrize(
    ("scores", "error", "match"),
    [
        (np.array([[0.1, np.nan]]), ValueError, "scores: expected finite"),
        (np.array([[0.1, -np.inf]]), ValueError, "scores: expected finite"),
        (np.array([0.1]), ValueError, "scores: expected shape"),
        (np.zeros((0, 3)), ValueError, "scores: expected at least one"),
        (np.zeros((2, 3), int), TypeError, "scores: expected a floating"),
    ],
)
def test_bad_scores_are_named(scores, error, match):
    with pytest.raises(error, match=match):
        match_one_to_one(scores)


SHAPE = (3, 16, 16)


def picture(k):
    """A smooth image in [0, 1] that needs no random numbers."""
    c, h, w = np.ogrid[:3, :16, :16]
    waves = np.sin(0.7 * (k + 1) * h / 3 + c + k) * np.cos(0.5 * w - 0.3 * k * h)
    return (0.5 + 0.25 * waves + 0.25 * np.cos(0.9 * w * (c + 1) / 2 + k * k)).ravel()


MEAN = np.mean([picture(k) for k in range(9)], axis=0)
IMAGES = np.stack([picture(k) for k in range(4)]) - MEAN
NEAR = [k + 0.15 for k in range(6)] + [k + 0.2 for k in range(6)] + [8, 9]
CANDIDATES = np.stack([picture(k) for k in NEAR]) - MEAN

# torch 2.13.0+cpu and kornia 0.9.0, 2026-11-23, on the arrays above as (n, 3, 16, 16), f one of
#   identity, F.avg_pool2d(a, 2), F.interpolate(a, scale_factor=0.5, mode="bicubic"):
#   z = (f(a) - f(a).mean((2, 3), keepdim=True)) / f(a).std((2, 3), keepdim=True)
#   D = torch.cdist(z(images), z(candidates)).square() / z[0].numel();  nearest, index = D.min(1)
#   r = candidates[index], or candidates[D[j] < vote * nearest[j]].mean(0);  r + mean, stretched
#   kornia.metrics.ssim(r, images + mean, window_size=3).reshape(4, -1).mean(1)
AUTHORS = {
    "full": (
        [0, 1, 2, 3],
        [0.101067684132179, 0.16608577992376702, 0.538449957106459, 0.5312320286418969],
    ),
    "bicubic": (
        [0, 1, 9, 3],
        [0.1018530207851752, 0.1702562382526114, 0.531643387719449, 0.5114833192308219],
    ),
    "pooled": (
        [0, 1, 9, 3],
        [0.11515468857899025, 0.1714608781506433, 0.4111867444790478, 0.47648423389750216],
    ),
}
AUTHORS_SSIM = {
    ("full", None): [
        0.9266943487280256,
        0.8493261466632971,
        0.7089854139610926,
        0.5814918243599978,
    ],
    ("full", 1.1): [0.9266943487280256, 0.8493261466632971, 0.675527369221486, 0.5814918243599978],
    ("full", 2.5): [0.9050893363883498, 0.8055137442144565, 0.6504157208630921, 0.6491512740838367],
    ("bicubic", None): [
        0.9266943487280256,
        0.8493261466632971,
        0.4397975296853403,
        0.5814918243599978,
    ],
    ("bicubic", 1.1): [
        0.9266943487280256,
        0.8493261466632971,
        0.675527369221486,
        0.5814918243599978,
    ],
    ("pooled", 1.1): [
        0.9266943487280256,
        0.8493261466632971,
        0.4397975296853403,
        0.5814918243599978,
    ],
}


@pytest.mark.parametrize(("search", "vote"), AUTHORS_SSIM)
def test_golden_numbers_of_the_authors_pipeline(search, vote):
    found = nearest_candidates(IMAGES, CANDIDATES, mean=MEAN, shape=SHAPE, search=search, vote=vote)
    candidate, distance = AUTHORS[search]
    assert found.candidate.tolist() == candidate
    np.testing.assert_allclose(found.distance, distance, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.ssim, AUTHORS_SSIM[search, vote], rtol=0, atol=1e-9)
    assert found.reconstruction.shape == IMAGES.shape
    assert found.reconstruction.min() == 0
    assert found.reconstruction.max() == 1


@pytest.mark.parametrize("vote", [None, 1.1])
@pytest.mark.parametrize("search", ["full", "pooled", "bicubic"])
def test_the_authors_pipeline_finds_the_image_itself_and_may_reuse_it(search, vote):
    candidates = np.stack([np.zeros(768), IMAGES[2], IMAGES[0]])
    found = nearest_candidates(
        IMAGES[[0, 2, 2]], candidates, mean=MEAN, shape=SHAPE, search=search, vote=vote
    )
    assert found.candidate.tolist() == [2, 1, 1]
    np.testing.assert_allclose(found.distance, 0, atol=1e-12)
    expected = stretch(IMAGES[[0, 2, 2]] + MEAN)
    np.testing.assert_allclose(found.reconstruction, expected, rtol=0, atol=1e-12)


def test_stretch_reaches_both_ends_and_leaves_a_constant_black():
    found = stretch(np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]]))
    assert found.tolist() == [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"search": "half"}, ValueError, "search: expected 'full', 'pooled' or 'bicubic'"),
        ({"search": "pooled", "shape": (1, 3, 256)}, ValueError, "search: 'pooled' needs an even"),
        ({"search": "bicubic", "shape": (3, 256, 1)}, ValueError, "search: 'bicubic' needs an"),
        ({"vote": 1.0}, ValueError, "vote: expected a ratio > 1"),
        ({"vote": -2.0}, ValueError, "vote: expected"),
        ({"shape": (3, 256)}, ValueError, r"shape: expected \(channels, height, width\)"),
        ({"shape": (3, 16, 0)}, ValueError, "shape: expected"),
        ({"shape": (1, 16, 16)}, ValueError, r"mean: expected shape \(256,\)"),
        ({"mean": MEAN * np.nan}, ValueError, "mean: expected finite"),
        ({"images": IMAGES[:, 1:]}, ValueError, "images: expected shape"),
        ({"images": IMAGES.reshape(4, *SHAPE)}, ValueError, "images: expected shape"),
        ({"candidates": CANDIDATES[:0]}, ValueError, "candidates: expected at least one"),
        ({"candidates": CANDIDATES * np.inf}, ValueError, "candidates: expected finite"),
        ({"candidates": CANDIDATES > 0}, TypeError, "candidates: expected a floating"),
    ],
)
def test_bad_arguments_of_the_authors_pipeline_are_named(change, error, match):
    good = {"images": IMAGES, "candidates": CANDIDATES, "mean": MEAN, "shape": SHAPE}
    good |= change
    with pytest.raises(error, match=match), np.errstate(invalid="ignore"):
        nearest_candidates(good.pop("images"), good.pop("candidates"), **good)


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
    assert found.difference.ncc_08 == 5
    assert found.difference == ImageScores(
        found.data.ncc_top10 - found.unseen.ncc_top10,
        5,
        5,
        found.data.ssim_top10 - found.unseen.ssim_top10,
        found.data.ssim_04 - found.unseen.ssim_04,
    )
    scores = np.sort(match_one_to_one(ncc_all_pairs(images, candidates)).score)
    assert found.data.ncc_top10 == pytest.approx(scores[-10:].mean())


def test_thresholds_of_ncc():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.c_[np.ones(768), rng.standard_normal((768, 15))])[0].T[1:]  # (15, 768)
    images, others, unseen = basis[:5], basis[5:10], basis[10:]
    correlation = np.array([[0.95], [0.91], [0.89], [0.81], [0.79]])
    candidates = correlation * images + np.sqrt(1 - correlation**2) * others
    found = score_candidates(images, candidates, unseen, mean=np.zeros(768), shape=SHAPE).data
    assert (found.ncc_09, found.ncc_08) == (2, 4)
    assert found.ncc_top10 == pytest.approx(correlation.mean(), abs=1e-12)


def test_ssim_is_measured_on_the_pairs_of_ncc_with_mean_added_and_stretched():
    images, unseen, _ = noisy_copies(n=5)
    noise = np.array([[0.02], [0.05], [0.3], [0.4], [0.5]])
    candidates = images + noise * np.random.default_rng(1).standard_normal(images.shape)
    mean = np.linspace(0, 1, 768)
    found = score_candidates(images, candidates, unseen, mean=mean, shape=SHAPE)
    shown = (candidates + mean).reshape(-1, *SHAPE)
    low, high = (f(shown, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    expected = ssim(
        (shown - low) / (high - low),
        (images + mean).reshape(-1, *SHAPE),
        data_range=1.0,
        channel_axis=1,
        settings=HAIM,
    )
    assert found.data.ssim_top10 == pytest.approx(expected.mean(), abs=1e-12)
    assert found.data.ssim_04 == (expected >= 0.4).sum() == 3
    assert found.data.ncc_top10 == pytest.approx(np.diag(ncc_all_pairs(images, candidates)).mean())


def test_scores_with_fewer_candidates_than_images():
    images, unseen, candidates = noisy_copies()
    found = score_candidates(images, candidates[:2], unseen, mean=np.zeros(768), shape=SHAPE)
    assert found.data.ncc_08 == 2
    assert found.data.ncc_top10 == pytest.approx(0.2, abs=0.01)


@given(seed=st.integers(0, 2**16))
def test_scores_do_not_depend_on_order_or_copies_of_candidates(seed):
    images, unseen, candidates = noisy_copies()
    rng = np.random.default_rng(seed)
    known = {"mean": np.zeros(768), "shape": SHAPE}
    found = score_candidates(images, candidates, unseen, **known)
    shuffled = rng.permutation(candidates)
    again = score_candidates(rng.permutation(images), shuffled, rng.permutation(unseen), **known)
    np.testing.assert_allclose(np.ravel(again), np.ravel(found), rtol=0, atol=1e-12)
    doubled = np.concatenate([candidates, candidates[rng.integers(5, size=4)]])
    twice = score_candidates(images, doubled, unseen, **known)
    assert (twice.data.ncc_08, twice.data.ncc_09) == (5, 5)


def test_a_negative_is_no_reconstruction():
    images, unseen, _ = noisy_copies()
    found = score_candidates(images, -images, unseen, mean=np.zeros(768), shape=SHAPE)
    assert found.data.ncc_08 == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"unseen": IMAGES[:3]}, "unseen: expected as many images as in images, 4, got 3"),
        ({"unseen": IMAGES[:, 1:]}, "unseen: expected shape"),
        ({"mean": MEAN[1:]}, "mean: expected shape"),
    ],
)
def test_bad_arguments_of_scores_are_named(change, match):
    good = {"images": IMAGES, "candidates": CANDIDATES, "unseen": IMAGES, "mean": MEAN} | change
    with pytest.raises(ValueError, match=match):
        score_candidates(**good, shape=SHAPE)


def restarts(seed=0, k=6, junk=10):
    """Three restarts: each has noisy copies of k images and junk of its own."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((k, 60))
    parts = [
        np.concatenate(
            [images + 0.2 * rng.standard_normal((k, 60)), rng.standard_normal((junk, 60))]
        )
        for _ in range(3)
    ]
    true = np.tile(np.arange(k + junk) < k, 3)
    return images, np.concatenate(parts), np.repeat([0, 1, 2], k + junk), true


def test_agreement_is_the_best_ncc_in_another_restart(monkeypatch):
    _, x, restart, true = restarts()
    y = np.where(np.arange(len(x)) % 3, 1.0, -1.0)
    ncc = ncc_all_pairs(x, x)
    for labels in (None, y):
        expected = [
            max(
                ncc[i, j]
                for j in range(len(x))
                if restart[j] != restart[i] and (labels is None or labels[i] == labels[j])
            )
            for i in range(len(x))
        ]
        for rows in (256, 7):
            monkeypatch.setattr(ranking_module, "_CHUNK_ROWS", rows)
            found = rank_candidates(
                x, multipliers=np.ones(len(x)), restart=restart, y=labels
            ).agreement
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_what_no_other_restart_can_confirm_has_agreement_minus_one():
    x = np.random.default_rng(0).standard_normal((3, 60))
    found = rank_candidates(
        x, multipliers=np.ones(3), restart=np.array([0, 1, 1]), y=np.array([1.0, 1.0, -1.0])
    )
    assert found.agreement[2] == -1
    assert found.agreement[0] == found.agreement[1] > -1


def test_ranking_puts_images_that_restarts_share_first():
    images, x, restart, true = restarts()
    ranking = rank_candidates(x, multipliers=np.ones(len(x)), restart=restart)
    assert true[ranking.order[: true.sum()]].all()
    assert ranking_agreement(ranking.score, images, x) > 0.5
    assert ranking.closeness is None


@pytest.mark.parametrize(
    ("multipliers", "labelled", "margin"),
    [
        ([1, 1, 1, 1, 1], True, 1.1),
        ([9, 1, 1, 1, 1], True, 1.0),
        ([1, 1, 1, 1, 9], True, 9.0),
        ([1, 1, 1, 1, 1], False, 3.0),
    ],
)
def test_closeness_is_measured_from_the_weighted_median_margin(multipliers, labelled, margin):
    x = np.random.default_rng(0).standard_normal((5, 60))
    y = np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    outputs = np.array([1.0, -1.1, 7.0, 3.0, 9.0])
    margins = np.array([1.0, 1.1, 7.0, -3.0 if labelled else 3.0, 9.0])
    found = rank_candidates(x, multipliers=multipliers, y=y if labelled else None, outputs=outputs)
    np.testing.assert_allclose(found.closeness, -np.abs(margins - margin), atol=1e-12)


def test_score_is_the_mean_rank_of_what_is_given():
    x = np.random.default_rng(0).standard_normal((4, 60))
    multipliers = np.array([0.1, 0.4, 0.2, 0.3])
    alone = rank_candidates(x, multipliers=multipliers)
    assert alone.score.tolist() == [0.25, 1.0, 0.5, 0.75]
    assert alone.order.tolist() == [1, 3, 2, 0]
    assert alone.agreement is None
    outputs = np.array([3.0, 1.0, 2.0, 2.1])  # weighted median 2: closeness -1, -1, 0, -0.1
    both = rank_candidates(x, multipliers=multipliers, outputs=outputs)
    expected = [(1 + 1.5) / 8, (4 + 1.5) / 8, (2 + 4) / 8, (3 + 3) / 8]
    np.testing.assert_allclose(both.score, expected)
    assert both.order.tolist() == [2, 3, 1, 0]


@given(seed=st.integers(0, 2**16))
def test_ranking_follows_a_permutation_of_candidates(seed):
    _, x, restart, _ = restarts()
    rng = np.random.default_rng(seed)
    multipliers, outputs = rng.random(len(x)), rng.standard_normal(len(x))
    order = rng.permutation(len(x))
    found = rank_candidates(x, multipliers=multipliers, restart=restart, outputs=outputs)
    shuffled = rank_candidates(
        x[order], multipliers=multipliers[order], restart=restart[order], outputs=outputs[order]
    )
    np.testing.assert_allclose(shuffled.score, found.score[order], rtol=0, atol=1e-12)


def test_ranking_agreement_is_spearman_with_the_best_ncc():
    images, x, _, _ = restarts()
    best = ncc_all_pairs(x, images).max(axis=1)
    assert ranking_agreement(np.exp(best), images, x) == pytest.approx(1)
    assert ranking_agreement(-best, images, x) == pytest.approx(-1)
    assert ranking_agreement(np.ones(len(x)), images, x) == 0
    turned = np.where(np.arange(len(x))[:, None] % 2, -x, x)
    either = ranking_agreement(np.exp(best), images, turned, either_sign=True)
    assert either > ranking_agreement(np.exp(best), images, turned)


ONES = np.ones(4)
TWO = np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"multipliers": ONES[:3]}, r"multipliers: expected 4 finite numbers.*\(3,\)"),
        ({"multipliers": ONES * np.nan}, "multipliers: expected 4 finite"),
        ({"multipliers": -ONES}, "multipliers: expected numbers >= 0"),
        ({"multipliers": 0 * ONES}, "multipliers: expected numbers >= 0, not all 0"),
        ({"multipliers": ONES, "restart": TWO[:3]}, "restart: expected 4"),
        ({"multipliers": ONES, "restart": 0 * TWO}, "restart: expected at least two"),
        ({"multipliers": ONES, "restart": TWO.astype(str)}, "restart: expected 4"),
        ({"multipliers": ONES, "y": TWO}, "y: expected labels -1 and"),
        ({"multipliers": ONES, "outputs": ONES[None]}, "outputs: expected 4"),
    ],
)
def test_bad_arguments_of_ranking_are_named(options, match):
    with pytest.raises(ValueError, match=match):
        rank_candidates(np.eye(4), **options)


def test_ranking_agreement_wants_a_score_for_each_candidate():
    with pytest.raises(ValueError, match="score: expected 4 finite numbers"):
        ranking_agreement(ONES[:3], np.eye(4), np.eye(4))
