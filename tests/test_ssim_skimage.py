"""SSIM against scikit-image, an independent implementation."""

import numpy as np
import pytest

from kkt_ref.metrics import SSIMSettings, structural_similarity

metrics = pytest.importorskip(
    "skimage.metrics",
    reason="scikit-image is absent; test_ssim.py compares with the definition by loops",
)

CASES = {
    "uniform 7": ({"win_size": 7}, {"window": "uniform", "size": 7}),
    "uniform 3": ({"win_size": 3}, {"window": "uniform", "size": 3}),
    "gaussian 1.5": ({"gaussian_weights": True, "sigma": 1.5}, {}),
    "gaussian 0.8": ({"gaussian_weights": True, "sigma": 0.8}, {"sigma": 0.8, "size": 7}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sample", [True, False])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_equals_structural_similarity(case, sample, axis):
    theirs, ours = CASES[case]
    rng = np.random.default_rng(0)
    shape = {None: (17, 20), 0: (3, 17, 20), -1: (17, 20, 3)}[axis]
    x = rng.random(shape)
    y = 0.6 * x + 0.4 * rng.random(shape)
    expected = metrics.structural_similarity(
        x, y, data_range=0.4, channel_axis=axis, use_sample_covariance=sample, **theirs
    )
    settings = SSIMSettings(sample_covariance=sample, **ours)
    found = structural_similarity(x, y, data_range=0.4, channel_axis=axis, settings=settings)
    assert found == pytest.approx(expected, abs=1e-10)
