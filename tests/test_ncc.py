"""NCC against its definition by loops, and its own laws."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kkt_ref.metrics.ncc import ncc, ncc_all_pairs, unit_images

pixels = arrays(np.float64, (4, 12), elements=st.floats(-10, 10, width=32))


def authors_distance(x, y, channels):
    """Squared L2 distance of images whose channels are standardised one by one, by loops."""
    total = 0.0
    for a, b in zip(np.split(x, channels), np.split(y, channels), strict=True):
        a, b = (a - a.mean()) / a.std(ddof=1), (b - b.mean()) / b.std(ddof=1)
        total += ((a - b) ** 2).sum()
    return total


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_equals_the_authors_distance_turned_to_correlation(channels):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 12)), rng.standard_normal((5, 12))
    per_channel = 12 // channels
    expected = [
        [1 - authors_distance(a, b, channels) / (2 * channels * (per_channel - 1)) for b in y]
        for a in x
    ]
    found = ncc_all_pairs(x, y, channels=channels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_one_channel_is_pearson_over_all_pixels():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((4, 12)) + 3, rng.standard_normal((4, 12)) - 5
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ncc(x, y), expected, rtol=0, atol=1e-14)


@given(x=pixels, y=pixels, channels=st.sampled_from([1, 2, 3]))
def test_laws(x, y, channels):
    matched, pairs = ncc(x, y, channels=channels), ncc_all_pairs(x, y, channels=channels)
    assert matched.shape == (4,)
    assert pairs.shape == (4, 4)
    assert pairs.dtype == np.float64
    np.testing.assert_allclose(matched, np.diag(pairs), rtol=0, atol=1e-14)
    np.testing.assert_allclose(pairs, ncc_all_pairs(y, x, channels=channels).T, rtol=0, atol=1e-14)
    assert (np.abs(pairs) <= 1).all()
    assert (ncc(x, x, channels=channels) <= 1).all()


@given(x=pixels, scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_scale_and_shift_do_not_matter_but_sign_does(x, scale, shift):
    assume((np.ptp(x, axis=1) > 1e-3).all())
    np.testing.assert_allclose(ncc(x, scale * x + shift), 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ncc(x, -x), -1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 1e300])
def test_an_image_without_variance_correlates_with_nothing(value):
    flat = np.full((1, 12), value)
    x = np.random.default_rng(2).standard_normal((3, 12))
    assert (ncc_all_pairs(flat, np.concatenate([x, flat])) == 0).all()


def test_a_variance_of_rounding_errors_is_none():
    almost = np.where(np.arange(12) % 3, 0.1, 0.3 - 0.2)[None]
    assert np.ptp(almost) > 0
    assert ncc(almost, almost) == 0


def test_a_channel_without_variance_counts_zero():
    x = np.random.default_rng(3).standard_normal((1, 12))
    x[:, :4] = 0.7
    assert ncc(x, x, channels=3) == pytest.approx(2 / 3, abs=1e-14)


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1e300])
def test_extreme_scales_neither_overflow_nor_vanish(scale):
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 12)), rng.standard_normal((2, 12))
    np.testing.assert_allclose(ncc(scale * x, y), ncc(x, y), rtol=0, atol=1e-14)


def test_single_precision_is_computed_in_double():
    x, y = np.random.default_rng(5).standard_normal((2, 3, 12)).astype(np.float32)
    found = ncc_all_pairs(x, y)
    assert found.dtype == np.float64
    assert (found == ncc_all_pairs(x.astype(np.float64), y.astype(np.float64))).all()


def test_inner_products_of_unit_images_are_correlations():
    x = np.random.default_rng(6).standard_normal((3, 12))
    z = unit_images(x, channels=3)
    np.testing.assert_allclose(z @ z.T, ncc_all_pairs(x, x, channels=3), rtol=0, atol=1e-14)
    np.testing.assert_allclose(z.reshape(3, 3, 4).sum(axis=2), 0, atol=1e-14)


X = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("function", [ncc, ncc_all_pairs])
@pytest.mark.parametrize(
    ("x", "y", "channels", "error", "match"),
    [
        (X[0], X, 1, ValueError, r"x: expected shape .* got \(4,\)"),
        (X, X[None], 1, ValueError, "y: expected shape"),
        (X[:0], X, 1, ValueError, "x: expected at least one"),
        (X[:, :0], X, 1, ValueError, "x: expected at least one column"),
        (X, X[:, :2], 1, ValueError, "x, y: expected"),
        (X * np.nan, X, 1, ValueError, "x: expected finite"),
        (X, X + np.inf, 1, ValueError, "y: expected finite"),
        (X.astype(int), X, 1, TypeError, "x: expected a floating array"),
        (X, X, 3, ValueError, "channels: expected a divisor of d = 4, got 3"),
        (X, X, 0, ValueError, "channels: expected"),
    ],
)
def test_bad_input_is_named(function, x, y, channels, error, match):
    with pytest.raises(error, match=match):
        function(x, y, channels=channels)


def test_matched_pairs_need_equal_numbers():
    with pytest.raises(ValueError, match="use ncc_all_pairs"):
        ncc(X, X[:2])
