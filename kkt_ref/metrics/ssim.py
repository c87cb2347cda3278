r"""Structural similarity (SSIM) of images.

With local means μ, variances σ² and covariance σ_xy under a sliding window,

    SSIM = (2 μ_x μ_y + C1)(2 σ_xy + C2) / ((μ_x² + μ_y² + C1)(σ_x² + σ_y² + C2) + eps),
    C1 = (0.01 L)²,  C2 = (0.03 L)²,  L = data_range,

averaged over the image and its channels.  :data:`WANG` are the settings of Wang, Bovik, Sheikh
and Simoncelli (IEEE Trans. Image Processing 13, 2004): a Gaussian window of 11 pixels and no
border.  :data:`HAIM` are those of the code of Haim et al. (2022), which calls kornia: 3 pixels and
reflected borders.

Names of dimensions: C channels, H and W pixels; (h, w) is (H, W) without a cropped border.
"""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import check_array, check_count, check_kind, check_positive

Floats = NDArray[np.float64]
_PLANE = (-2, -1)
_LARGEST_RATIO = 1e4  # of |x| to data_range: above it, rounding errors of σ² come near C2


@dataclass(frozen=True, kw_only=True)
class SSIMSettings:
    """The choices in which implementations of SSIM differ."""

    window: Literal["gaussian", "uniform"] = "gaussian"
    size: int = 11  # side of the window in pixels, odd, at least 3
    sigma: float = 1.5  # standard deviation of the Gaussian window in pixels, > 0
    sample_covariance: bool = False  # multiply (co)variances by N / (N - 1), N = size²
    # average where the window fits into the image, or reflect the image at its outermost pixels
    border: Literal["crop", "reflect"] = "crop"
    eps: float = 0.0  # >= 0; if eps > 0, SSIM(x, x) of a dark image is below 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.window not in ("gaussian", "uniform"):
            raise ValueError(f"window: expected 'gaussian' or 'uniform', got {self.window!r}")
        if self.border not in ("crop", "reflect"):
            raise ValueError(f"border: expected 'crop' or 'reflect', got {self.border!r}")
        if check_count(self.size, "size", 3) % 2 == 0:
            raise ValueError(f"size: expected an odd integer >= 3, got {self.size!r}")
        check_positive(self.sigma, "sigma")
        check_positive(self.eps, "eps", zero=True)


WANG = SSIMSettings()
HAIM = SSIMSettings(size=3, border="reflect", eps=1e-12)


def structural_similarity(
    x: ArrayLike,
    y: ArrayLike,
    *,
    data_range: float,
    channel_axis: int | None = None,
    settings: SSIMSettings = WANG,
) -> Floats:
    """Return the SSIM of matched images, in float64 and the shape of the batch.

    It is exactly 1 for x = y if ``settings.eps`` is 0.  It equals scikit-image's
    ``structural_similarity`` on float64 images for equal settings.

    Parameters
    ----------
    x, y : array_like
        Images (..., H, W) of equal shape, real or integer; leading axes are a batch.
    data_range : float
        L, the largest minus the smallest value that a pixel can have, > 0.  No pixel may be larger
        than 1e4 L.
    channel_axis : int, optional
        One more axis, at any place: that of the channels, over which SSIM is averaged.
    settings : SSIMSettings
    """
    check_positive(data_range, "data_range")
    check_kind(settings, SSIMSettings, "settings")
    x = _checked("x", x, data_range, channel_axis, settings.size)
    y = _checked("y", y, data_range, channel_axis, settings.size)
    if x.shape != y.shape:
        raise ValueError(f"x, y: expected equal shapes, got {x.shape} and {y.shape}")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    means = _local_means(np.stack([x, y, x * x, y * y, x * y]), settings)  # (5, ..., h, w)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = means
    points = settings.size**2
    factor = points / (points - 1) if settings.sample_covariance else 1.0
    variances = factor * (mean_xx - mean_x**2) + factor * (mean_yy - mean_y**2)
    covariance = factor * (mean_xy - mean_x * mean_y)
    top = (2.0 * (mean_x * mean_y) + c1) * (2.0 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (variances + c2) + settings.eps
    return (top / bottom).mean(axis=_PLANE if channel_axis is None else (-3, *_PLANE))  # (...)


def _local_means(images: Floats, settings: SSIMSettings) -> Floats:
    radius = settings.size // 2
    if settings.window == "gaussian":
        means = scipy.ndimage.gaussian_filter(
            images, settings.sigma, radius=radius, axes=_PLANE, mode="mirror"
        )
    else:
        means = scipy.ndimage.uniform_filter(images, settings.size, axes=_PLANE, mode="mirror")
    return means[..., radius:-radius, radius:-radius] if settings.border == "crop" else means


def _checked(
    name: str, given: ArrayLike, data_range: float, channel_axis: int | None, window: int
) -> Floats:
    """Return the images as float64 with axes (..., H, W) or (..., C, H, W), or raise."""
    images = check_array(given, name)
    shape = images.shape
    if channel_axis is not None:
        if not isinstance(channel_axis, Integral) or not -images.ndim <= channel_axis < images.ndim:
            raise ValueError(
                f"channel_axis: expected an axis of {name}, shape {shape}, got {channel_axis!r}"
            )
        images = np.moveaxis(images, channel_axis, -3 if images.ndim > 2 else 0)  # (..., C, H, W)
    if images.ndim < (2 if channel_axis is None else 3) or min(images.shape[-2:]) < window:
        raise ValueError(
            f"{name}: expected axes (..., H, W), and one of channels if channel_axis names it, "
            f"with images of at least {window} x {window} pixels, the window, got shape {shape}"
        )
    largest = np.abs(images).max()
    if largest > _LARGEST_RATIO * data_range:
        raise ValueError(
            f"data_range: expected the range of the pixels, got {data_range}, but {name} reaches "
            f"{largest:.3g}, which is more than {_LARGEST_RATIO:g} times as much"
        )
    return images
