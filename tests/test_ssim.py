"""SSIM against its definition by loops, scikit-image, golden numbers of kornia, and its laws."""

import numpy as np
import pytest

from kkt_ref.metrics import HAIM, WANG, SSIMSettings
from kkt_ref.metrics import structural_similarity as ssim
from tests.strategies import picture

SETTINGS = {
    "wang": WANG,
    "haim": HAIM,
    "uniform": SSIMSettings(window="uniform", size=7),
    "sample": SSIMSettings(window="uniform", size=5, sample_covariance=True, border="reflect"),
    "narrow": SSIMSettings(size=3, sigma=0.7, sample_covariance=True, eps=0.1),
}


def ssim_by_loops(x, y, data_range, settings):
    """The definition, for one plane: every window in turn."""
    size, radius = settings.size, settings.size // 2
    offsets = np.arange(size) - radius
    line = np.exp(-0.5 * (offsets / settings.sigma) ** 2)
    line = line if settings.window == "gaussian" else np.ones(size)
    weight = np.outer(line, line) / line.sum() ** 2
    if settings.border == "reflect":
        x, y = np.pad(x, radius, mode="reflect"), np.pad(y, radius, mode="reflect")
    factor = size**2 / (size**2 - 1) if settings.sample_covariance else 1.0
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i, j in np.ndindex(x.shape[0] - 2 * radius, x.shape[1] - 2 * radius):
        p, q = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
        mp, mq = (weight * p).sum(), (weight * q).sum()
        vp, vq = factor * (weight * (p - mp) ** 2).sum(), factor * (weight * (q - mq) ** 2).sum()
        vpq = factor * (weight * (p - mp) * (q - mq)).sum()
        top = (2 * mp * mq + c1) * (2 * vpq + c2)
        values.append(top / ((mp**2 + mq**2 + c1) * (vp + vq + c2) + settings.eps))
    return np.mean(values)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("data_range", [1.0, 0.3])
def test_equals_the_definition(name, data_range):
    rng = np.random.default_rng(0)
    x, y = rng.random((13, 12)), rng.random((13, 12)) - 0.2
    expected = ssim_by_loops(x, y, data_range, SETTINGS[name])
    found = ssim(x, y, data_range=data_range, settings=SETTINGS[name])
    assert found == pytest.approx(expected, abs=1e-12)
    assert SETTINGS[name].eps or ssim(x, x, data_range=1.0, settings=SETTINGS[name]) == 1.0


PEERS = {
    "uniform 7": ({"win_size": 7}, {"window": "uniform", "size": 7}),
    "gaussian 1.5": ({"gaussian_weights": True, "sigma": 1.5}, {}),
}


@pytest.mark.parametrize("case", PEERS)
@pytest.mark.parametrize("sample", [True, False])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_equals_scikit_image(case, sample, axis):
    metrics = pytest.importorskip("skimage.metrics", reason="needs the extra peers")
    theirs, ours = PEERS[case]
    rng = np.random.default_rng(0)
    shape = {None: (17, 20), 0: (3, 17, 20), -1: (17, 20, 3)}[axis]
    x = rng.random(shape)
    y = 0.6 * x + 0.4 * rng.random(shape)
    same = dict(data_range=0.4, channel_axis=axis)
    expected = metrics.structural_similarity(x, y, use_sample_covariance=sample, **same, **theirs)
    found = ssim(x, y, settings=SSIMSettings(sample_covariance=sample, **ours), **same)
    assert found == pytest.approx(expected, abs=1e-10)


# kornia 0.9.0 on torch 2.13.0+cpu, 2026-11-23, with picture() as above:
#   a, b = (torch.from_numpy(np.stack([picture(k) for k in ks])) for ks in (range(4), range(4, 8)))
#   kornia.metrics.ssim(a, b, window_size=size).reshape(4, -1).mean(1)
KORNIA = {
    3: [-0.44964208458844784, 0.21186958896983069, 0.40474095231248963, -0.24237394384879649],
    11: [-0.5856669799080279, 0.24310201766125528, 0.4759020087077886, -0.3798128311763924],
}


@pytest.mark.parametrize("size", KORNIA)
def test_golden_numbers_of_kornia(size):
    settings = SSIMSettings(size=size, border="reflect", eps=1e-12)
    assert settings == HAIM or size != 3
    x = np.stack([picture(k) for k in range(4)])
    y = np.stack([picture(k) for k in range(4, 8)])
    found = ssim(x, y, data_range=1.0, channel_axis=1, settings=settings)
    np.testing.assert_allclose(found, KORNIA[size], rtol=0, atol=1e-10)


def test_batches_and_channel_axes():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 4, 3, 12, 13)), rng.random((2, 4, 3, 12, 13))
    planes = ssim(x, y, data_range=1.0)
    assert planes.shape == (2, 4, 3)
    assert planes.dtype == np.float64
    assert planes[1, 2, 0] == ssim(x[1, 2, 0], y[1, 2, 0], data_range=1.0)
    for axis in (0, 1, 2, 3, 4, -1):
        a, b = np.moveaxis(x, 2, axis), np.moveaxis(y, 2, axis)
        colour = ssim(a, b, data_range=1.0, channel_axis=axis)
        np.testing.assert_allclose(colour, planes.mean(axis=2), rtol=0, atol=1e-14)
