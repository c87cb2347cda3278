"""NCC against its definition by loops, and its own laws."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kkt_ref.metrics import ncc_all_pairs, unit_images

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
    scale = 2 * channels * (12 // channels - 1)
    expected = [[1 - authors_distance(a, b, channels) / scale for b in y] for a in x]
    found = ncc_all_pairs(x, y, channels=channels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@given(x=pixels, scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_scale_and_shift_do_not_matter_but_sign_does(x, scale, shift):
    assume((np.ptp(x, axis=1) > 1e-3).all())
    np.testing.assert_allclose(np.diag(ncc_all_pairs(x, scale * x + shift)), 1, atol=1e-9)
    np.testing.assert_allclose(np.diag(ncc_all_pairs(x, -x)), -1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 1e300])
def test_an_image_without_variance_correlates_with_nothing(value):
    flat = np.full((1, 12), value)
    x = np.random.default_rng(2).standard_normal((3, 12))
    assert (ncc_all_pairs(flat, np.concatenate([x, flat])) == 0).all()


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales_neither_overflow_nor_vanish(scale):
    x, y = np.random.default_rng(4).standard_normal((2, 2, 12))
    expected = ncc_all_pairs(x, y)
    np.testing.assert_allclose(ncc_all_pairs(scale * x, y), expected, rtol=0, atol=1e-14)


def test_unit_images_have_equal_channels_and_a_flat_channel_counts_zero():
    x = np.random.default_rng(6).standard_normal((3, 12))
    z = unit_images(x, channels=3)
    np.testing.assert_allclose(z.reshape(3, 3, 4).sum(axis=2), 0, atol=1e-14)
    np.testing.assert_allclose((z**2).reshape(3, 3, 4).sum(axis=2), 1 / 3, atol=1e-14)
    x[:, :4] = 0.7
    found = ncc_all_pairs(x, x, channels=3)
    np.testing.assert_allclose(np.diag(found), 2 / 3, rtol=0, atol=1e-14)


X = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("y", "channels", "error", "match"),
    [
        (X[:, :2], 1, ValueError, r"y: expected shape \(n, 4\)"),
        (X.astype(int), 1, TypeError, "y: expected a floating array"),
        (X, 3, ValueError, "channels: expected a divisor of d = 4, got 3"),
    ],
)
def test_bad_input_is_named(y, channels, error, match):
    with pytest.raises(error, match=match):
        ncc_all_pairs(X, y, channels=channels)
