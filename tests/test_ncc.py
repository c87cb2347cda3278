"""NCC against NumPy's correlation and the authors' distance, and its own laws."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kkt_ref.metrics import ncc_all_pairs

pixels = arrays(np.float64, (4, 12), elements=st.floats(-10, 10, width=32))
X, Y = np.random.default_rng(0).standard_normal((2, 3, 12))


def test_equals_pearsons_correlation():
    np.testing.assert_allclose(ncc_all_pairs(X, Y), np.corrcoef(X, Y)[:3, 3:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_authors_distance_turned_to_correlation(channels):
    def standardised(image):
        return np.concatenate([(c - c.mean()) / c.std(ddof=1) for c in np.split(image, channels)])

    x, y = (np.stack([standardised(image) for image in part]) for part in (X, Y))
    distance = np.array([[np.sum((a - b) ** 2) for b in y] for a in x])
    expected = 1 - distance / (2 * channels * (12 // channels - 1))
    np.testing.assert_allclose(ncc_all_pairs(x, y), expected, rtol=0, atol=1e-13)


@given(x=pixels, scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_scale_and_shift_do_not_matter_but_sign_does(x, scale, shift):
    assume((np.ptp(x, axis=1) > 1e-3).all())
    np.testing.assert_allclose(np.diag(ncc_all_pairs(x, scale * x + shift)), 1, atol=1e-9)
    np.testing.assert_allclose(np.diag(ncc_all_pairs(x, -x)), -1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 1e76])
def test_an_image_without_variance_correlates_with_nothing(value):
    flat = value * np.stack([np.ones(12), 1 + 1e-14 * X[0]])  # exactly, and up to rounding
    assert (ncc_all_pairs(flat, np.concatenate([X, flat])) == 0).all()


@pytest.mark.parametrize("scale", [1e-300, 1e76])
def test_extreme_scales_neither_overflow_nor_vanish(scale):
    np.testing.assert_allclose(ncc_all_pairs(scale * X, Y), ncc_all_pairs(X, Y), rtol=0, atol=1e-14)
