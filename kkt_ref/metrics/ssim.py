r"""Structural similarity (SSIM) of images: matched pairs and all pairs.

With local means μ, variances σ² and covariance σ_xy under a sliding window,

    SSIM = (2 μ_x μ_y + C1)(2 σ_xy + C2) / ((μ_x² + μ_y² + C1)(σ_x² + σ_y² + C2) + eps),
    C1 = (K1 L)²,  C2 = (K2 L)²,  L = data_range,

averaged over the image and its channels.  Two published choices have names:

* :data:`WANG`, the original: Gaussian window of 11, σ 1.5, the strip at the
  border left out.  scikit-image calls it ``gaussian_weights=True, sigma=1.5,
  use_sample_covariance=False``.
* :data:`HAIM`, what the reconstruction paper's code calls through kornia:
  Gaussian window of 3, σ 1.5, reflected borders, eps 1e-12.

Names of dimensions: n and m images, C channels, H and W pixels; (h, w) is
(H, W), less the border where it is cropped.

Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13, 2004;
Haim, Vardi, Yehudai, Shamir, Irani, arXiv 2206.07758, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from kkt_ref._validation import as_array, check_kind, check_positive

Floats = NDArray[np.float64]
_PLANE = (-2, -1)
_CHUNK_PIXELS = 2**18  # pixels of products held at once by ssim_all_pairs
_LARGEST_RATIO = 1e4  # of |x| to data_range: beyond it, rounding in σ² nears C2


@dataclass(frozen=True, kw_only=True)
class SSIMSettings:
    """The choices in which SSIM implementations differ.

    Parameters
    ----------
    window : {"gaussian", "uniform"}
    size : int
        Side of the window in pixels, odd, at least 3.
    sigma : float
        Standard deviation of the Gaussian window; the uniform one ignores it.
    k1, k2 : float
        Wang's constants, > 0.
    sample_covariance : bool
        Scale variances and covariance by N / (N - 1), N = size².
    border : {"crop", "reflect"}
        Average where the window fits into the image, or over the whole image
        continued by reflection about the centre of its outermost pixels.
    eps : float
        Added to the denominator, >= 0.  Above 0, SSIM(x, x) falls short of 1:
        by 1.1e-5 where x is black, for kornia's 1e-12 and data_range 1.

    Raises
    ------
    ValueError
        For a value outside these ranges.
    """

    window: Literal["gaussian", "uniform"] = "gaussian"
    size: int = 11
    sigma: float = 1.5
    k1: float = 0.01
    k2: float = 0.03
    sample_covariance: bool = False
    border: Literal["crop", "reflect"] = "crop"
    eps: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values outside these ranges."""
        if self.window not in ("gaussian", "uniform"):
            raise ValueError(f"window: expected 'gaussian' or 'uniform', got {self.window!r}")
        if self.border not in ("crop", "reflect"):
            raise ValueError(f"border: expected 'crop' or 'reflect', got {self.border!r}")
        if not isinstance(self.size, Integral) or self.size < 3 or self.size % 2 == 0:
            raise ValueError(
                f"size: expected an odd int >= 3, so that a window has a centre, got {self.size}"
            )
        for name in ("sigma", "k1", "k2"):
            check_positive(getattr(self, name), name)
        check_positive(self.eps, "eps", zero=True)


WANG = SSIMSettings()
HAIM = SSIMSettings(size=3, border="reflect", eps=1e-12)


class _Moments(NamedTuple):
    mean: Floats  # μ, (..., h, w)
    variance: Floats  # σ², (..., h, w)


def ssim(
    x: ArrayLike,
    y: ArrayLike,
    *,
    data_range: float,
    channel_axis: int | None = None,
    settings: SSIMSettings = WANG,
) -> Floats:
    """Return the SSIM of matched images.

    Parameters
    ----------
    x, y : array_like
        Images (..., H, W) of equal shape, real or integer; leading axes are a
        batch.  With ``channel_axis`` one more axis, anywhere.
    data_range : float
        L, the largest minus the smallest value that a pixel can take, > 0.
    channel_axis : int, optional
        The axis of the channels, over which SSIM is averaged.
    settings : SSIMSettings
        :data:`WANG` unless given; :data:`HAIM` is the reconstruction paper's.

    Returns
    -------
    ndarray
        float64, of the batch's shape (a scalar for one image); at most 1 up to
        rounding, and exactly 1 for x = y unless ``settings.eps`` > 0.

    Raises
    ------
    TypeError
        If an array is neither real nor integer.
    ValueError
        If shapes differ, an image has too few axes or is smaller than the
        window, a pixel is not finite or exceeds 1e4 ``data_range``, or
        ``data_range`` is not > 0.

    Notes
    -----
    Equals scikit-image's ``structural_similarity`` on float64 images where the
    settings coincide.
    """
    check_positive(data_range, "data_range")
    check_kind(settings, SSIMSettings, "settings")
    x = _checked("x", x, data_range, channel_axis, settings.size)
    y = _checked("y", y, data_range, channel_axis, settings.size)
    if x.shape != y.shape:
        raise ValueError(f"x, y: expected equal shapes, got {x.shape} and {y.shape}")
    similarity = _similarity(
        _moments(x, settings), _moments(y, settings), x * y, data_range, settings
    )  # (..., h, w)
    return similarity.mean(axis=_PLANE if channel_axis is None else (-3, *_PLANE))  # (...)


def ssim_all_pairs(
    x: ArrayLike,
    y: ArrayLike,
    *,
    data_range: float,
    channel_axis: int | None = None,
    settings: SSIMSettings = WANG,
) -> Floats:
    """Return the SSIM of every image of ``x`` with every image of ``y``.

    Each image's own moments are computed once, and only the covariance for each
    pair, in chunks of bounded size.

    Parameters
    ----------
    x, y : array_like
        n and m images, (n, H, W) and (m, H, W); with ``channel_axis`` (1, or
        -1 for channels last) one more axis.
    data_range, channel_axis, settings
        As for :func:`ssim`.

    Returns
    -------
    ndarray, (n, m)
        float64.

    Raises
    ------
    TypeError, ValueError
        As :func:`ssim` does, and if ``x`` or ``y`` is not one stack of images.
    """
    check_positive(data_range, "data_range")
    check_kind(settings, SSIMSettings, "settings")
    x = _checked("x", x, data_range, channel_axis, settings.size)
    y = _checked("y", y, data_range, channel_axis, settings.size)
    ndim = 3 if channel_axis is None else 4
    if x.ndim != ndim or x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"x, y: expected stacks of {ndim} axes, image first, and images of equal shape, got "
            f"{x.shape} and {y.shape}"
        )
    of_x, of_y = _moments(x, settings), _moments(y, settings)
    step = max(1, _CHUNK_PIXELS // y[0].size)
    pixels = tuple(range(1, ndim))
    result = np.empty((len(x), len(y)))
    for start in range(0, len(y), step):
        some = slice(start, start + step)
        of_some = _Moments(of_y.mean[some], of_y.variance[some])
        for i in range(len(x)):
            one = _Moments(of_x.mean[i], of_x.variance[i])
            similarity = _similarity(one, of_some, x[i] * y[some], data_range, settings)
            result[i, some] = similarity.mean(axis=pixels)
    return result


def _local_mean(x: Floats, settings: SSIMSettings) -> Floats:
    radius = settings.size // 2
    if settings.window == "gaussian":
        mean = gaussian_filter(x, settings.sigma, radius=radius, axes=_PLANE, mode="mirror")
    else:
        mean = uniform_filter(x, settings.size, axes=_PLANE, mode="mirror")
    if settings.border == "crop":
        mean = mean[..., radius:-radius, radius:-radius]  # (..., H, W) -> (..., h, w)
    return mean


def _covariance(product: Floats, product_of_means: Floats, settings: SSIMSettings) -> Floats:
    covariance = _local_mean(product, settings) - product_of_means  # (..., h, w)
    if settings.sample_covariance:
        covariance *= settings.size**2 / (settings.size**2 - 1)
    return covariance


def _moments(x: Floats, settings: SSIMSettings) -> _Moments:
    mean = _local_mean(x, settings)
    return _Moments(mean, _covariance(x * x, mean * mean, settings))


def _similarity(
    of_x: _Moments, of_y: _Moments, product: Floats, data_range: float, settings: SSIMSettings
) -> Floats:
    c1, c2 = (settings.k1 * data_range) ** 2, (settings.k2 * data_range) ** 2
    product_of_means = of_x.mean * of_y.mean  # (..., h, w)
    covariance = _covariance(product, product_of_means, settings)
    top = (2.0 * product_of_means + c1) * (2.0 * covariance + c2)
    bottom = (of_x.mean**2 + of_y.mean**2 + c1) * (of_x.variance + of_y.variance + c2)
    return top / (bottom + settings.eps)


def _checked(
    name: str, given: ArrayLike, data_range: float, channel_axis: int | None, window: int
) -> Floats:
    images = as_array(given, name)
    shape = images.shape
    if images.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected real or integer pixels, got dtype {images.dtype}")
    if images.ndim < (2 if channel_axis is None else 3):
        raise ValueError(
            f"{name}: expected axes (..., H, W), and one of channels if channel_axis names it, got "
            f"shape {shape}; reshape flat images to (n, channels, height, width)"
        )
    if channel_axis is not None:
        if not isinstance(channel_axis, Integral) or not -images.ndim <= channel_axis < images.ndim:
            raise ValueError(
                f"channel_axis: expected an axis of {name}, shape {shape}, got {channel_axis!r}"
            )
        images = np.moveaxis(images, channel_axis, -3)  # (..., C, H, W)
    if images.size == 0 or min(images.shape[-2:]) < window:
        raise ValueError(
            f"{name}: expected images of at least {window} x {window} pixels, the window, got "
            f"shape {shape}; choose a smaller size, or name the channel_axis"
        )
    images = images.astype(np.float64)
    largest = np.abs(images).max()
    if not np.isfinite(largest):
        raise ValueError(f"{name}: expected finite pixels, got NaN or infinity")
    if largest > _LARGEST_RATIO * data_range:
        raise ValueError(
            f"data_range: {name} reaches {largest:.3g}, more than {_LARGEST_RATIO:g} times "
            f"data_range={data_range}; give the pixels' own range"
        )
    return images
