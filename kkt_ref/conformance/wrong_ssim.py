"""The known mistakes in SSIM, each with the answer that it gives."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from kkt_ref.conformance.cases import Inputs
from kkt_ref.metrics.ssim import HAIM, WANG, structural_similarity

Array = np.ndarray


def _ssim_with(
    a: Array,
    b: Array,
    constants: tuple[float, float] = (0.01, 0.03),
    sigma: float = 1.5,
    mode: str = "crop",
    luminance: bool = True,
) -> Array:
    """Return Wang's SSIM with other constants, borders (a mode of SciPy) or without a term."""
    smooth = partial(gaussian_filter, sigma=sigma, radius=5, axes=(-2, -1))
    border = "constant" if mode == "crop" else mode
    mean_a, mean_b, aa, bb, ab = (smooth(p, mode=border) for p in (a, b, a * a, b * b, a * b))
    c1, c2 = (k**2 for k in constants)
    term = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    rest = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    similar = rest * term if luminance else rest
    return (similar[:, 5:-5, 5:-5] if mode == "crop" else similar).mean()


def wrong_ssim(name: str, inputs: Inputs, right: Any) -> Iterator[tuple[str, Any]]:
    """Yield known mistakes, each with the answer that it gives.

    Yields
    ------
    what is done wrong, and the answer
    """
    a, b = inputs["a"], inputs["b"]
    default = replace(WANG, window="uniform", size=7, sample_covariance=True)
    settings = {
        "the window is uniform, 7 by 7, as is the default of scikit-image": default,
        "the window is Gaussian, 3 by 3, as in the code of the paper": HAIM,
        "the window is uniform": replace(WANG, window="uniform"),
        "the window is uniform, 7 by 7": replace(WANG, window="uniform", size=7),
        "the window is 7 by 7": replace(WANG, size=7),
        "the window is 9 by 9": replace(WANG, size=9),
        "variances are those of samples, over N - 1": replace(WANG, sample_covariance=True),
    }
    spread = max(float(np.ptp(np.stack([a, b]))), 1e-12)
    changes: dict[str, dict[str, Any]] = {key: {"settings": s} for key, s in settings.items()}
    for name, data_range in (("2", 2.0), ("255", 255.0), ("that of the data", spread)):
        changes[f"data_range is {name}"] = {"data_range": data_range}
    changes["only the first channel counts"] = {"x": a[:1], "y": b[:1]}
    grey = {"x": a.mean(0, keepdims=True), "y": b.mean(0, keepdims=True)}
    changes["channels are averaged before, not after"] = grey
    plain: dict[str, Any] = {"x": a, "y": b, "data_range": 1.0, "settings": WANG}
    for mistake, change in changes.items():
        try:
            yield mistake, (structural_similarity(**plain | change, channel_axis=0),)
        except ValueError:  # the image is smaller than the window
            continue
    others: dict[str, dict[str, Any]] = {
        "the border is reflected, not left out": {"mode": "mirror"},
        "the border is reflected with its outermost pixels, not left out": {"mode": "reflect"},
        'the border is filled with 0, as mode "same" does': {"mode": "constant"},
        "the border is repeated, not left out": {"mode": "nearest"},
        **{f"σ of the window is {c:g}": {"sigma": c} for c in (0.5, 1.0, 2.0, 2.25)},
        "K1 and K2 are exchanged": {"constants": (0.03, 0.01)},
        "K1 and K2 are not squared": {"constants": (0.1, 0.03**0.5)},
        "K1 and K2 are both 0.01": {"constants": (0.01, 0.01)},
        "K1 and K2 are both 0.03": {"constants": (0.03, 0.03)},
        "the luminance term is left out": {"luminance": False},
    }
    for mistake, change in others.items():
        yield mistake, (_ssim_with(a, b, **change),)
