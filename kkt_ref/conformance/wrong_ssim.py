"""The known mistakes in SSIM, each with the answer that it gives.

Names of dimensions: C channels, H and W pixels.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from kkt_ref.conformance.cases import Inputs

Array = np.ndarray
DEFAULT = {"uniform": True, "size": 7, "samples": True}  # of scikit-image
SETTINGS: dict[str, dict[str, Any]] = {
    "the window is uniform, 7 by 7, as is the default of scikit-image": DEFAULT,
    "the window is Gaussian, 3 by 3, as in the code of the paper": {
        "size": 3,
        "border": "mirror",
        "eps": 1e-12,
    },
    "the window is uniform": {"uniform": True},
    "the window is 7 by 7": {"size": 7},
    "the window is 9 by 9": {"size": 9},
    **{f"σ of the window is {c:g}": {"sigma": c} for c in (0.5, 1.0, 2.0)},
    "variances are those of samples, over N - 1": {"samples": True},
    "the border is reflected, not left out": {"border": "mirror"},
    'the border is filled with 0, as mode "same" does': {"border": "constant"},
    "K1 and K2 are exchanged": {"constants": (0.03, 0.01)},
    "K1 and K2 are not squared": {"constants": (0.1, 0.03**0.5)},
    "the luminance term is left out": {"luminance": False},
    "data_range is 2": {"data_range": 2.0},
    "data_range is 255": {"data_range": 255.0},
}


def _ssim_with(
    a: Array,
    b: Array,
    *,
    uniform: bool = False,
    size: int = 11,
    sigma: float = 1.5,
    samples: bool = False,  # whether variances are divided by N - 1
    border: str = "",  # a mode of SciPy; left out if empty
    constants: tuple[float, float] = (0.01, 0.03),
    data_range: float = 1.0,
    luminance: bool = True,
    eps: float = 0.0,
) -> Array:
    smooth = partial(gaussian_filter, sigma=sigma, radius=size // 2)
    smooth = partial(uniform_filter, size=size) if uniform else smooth
    products = (a, b, a * a, b * b, a * b)
    mean_a, mean_b, aa, bb, ab = (
        smooth(p, mode=border or "mirror", axes=(-2, -1)) for p in products
    )
    c1, c2 = ((k * data_range) ** 2 for k in constants)
    times = size**2 / (size**2 - 1) if samples else 1.0
    light = (2 * mean_a * mean_b + c1, mean_a**2 + mean_b**2 + c1) if luminance else (1.0, 1.0)
    spread = times * (aa - mean_a**2 + bb - mean_b**2) + c2
    similar = light[0] * (2 * times * (ab - mean_a * mean_b) + c2) / (light[1] * spread + eps)
    cut = slice(None) if border else slice(size // 2, -(size // 2))
    return similar[:, cut, cut].mean()  # (C, H, W) becomes one number


def wrong_ssim(name: str, inputs: Inputs, right: Any) -> Iterator[tuple[str, Any]]:
    """Yield known mistakes, each with the answer that it gives.

    Yields
    ------
    what is done wrong, and the answer
    """
    a, b = inputs["a"], inputs["b"]
    for mistake, settings in SETTINGS.items():
        yield mistake, (_ssim_with(a, b, **settings),)
    spread = max(float(np.ptp(np.stack([a, b]))), 1e-12)
    yield "data_range is that of the data", (_ssim_with(a, b, data_range=spread),)
    yield "only the first channel counts", (_ssim_with(a[:1], b[:1]),)
    grey = (image.mean(axis=0, keepdims=True) for image in (a, b))
    yield "channels are averaged before, not after", (_ssim_with(*grey),)
