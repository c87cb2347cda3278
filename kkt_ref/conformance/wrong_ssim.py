"""The known mistakes in SSIM, each with the answer that it gives.

Names of dimensions: C channels, H and W pixels.
"""

from functools import partial
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Inputs
from kkt_ref.metrics.ssim import HAIM, SSIMSettings, structural_similarity

SETTINGS = {
    "the window is uniform, 7 by 7, as is the default of scikit-image": SSIMSettings(
        window="uniform", size=7, sample_covariance=True
    ),
    "the window is Gaussian, 3 by 3, as in the code of the paper": HAIM,
    "the window is uniform": SSIMSettings(window="uniform"),
    "the window is 7 by 7": SSIMSettings(size=7),
    "the window is 9 by 9": SSIMSettings(size=9),
    **{f"σ of the window is {c:g}": SSIMSettings(sigma=c) for c in (0.5, 1.0, 2.0)},
    "variances are those of samples, over N - 1": SSIMSettings(sample_covariance=True),
    "the border is reflected, not left out": SSIMSettings(border="reflect"),
}


def wrong_ssim(name: str, inputs: Inputs, right: Any) -> list[tuple[str, Any]]:
    """Return known mistakes, each with the answer that it gives."""
    a, b = inputs["a"], inputs["b"]
    ssim = partial(structural_similarity, data_range=1.0, channel_axis=0)
    wide = [np.pad(image, ((0, 0), (5, 5), (5, 5))) for image in (a, b)]  # (C, H + 10, W + 10)
    grey = [image.mean(axis=0, keepdims=True) for image in (a, b)]  # (1, H, W)
    spread = max(float(np.ptp(np.stack([a, b]))), 1e-12)
    wrong = {mistake: ssim(a, b, settings=settings) for mistake, settings in SETTINGS.items()} | {
        'the border is filled with 0, as mode "same" does': ssim(*wide),
        "data_range is 2": ssim(a, b, data_range=2.0),
        "data_range is 255": ssim(a, b, data_range=255.0),
        "data_range is that of the data": ssim(a, b, data_range=spread),
        "only the first channel counts": ssim(a[:1], b[:1]),
        "channels are averaged before, not after": ssim(*grey),
    }
    return [(mistake, (answer,)) for mistake, answer in wrong.items()]
