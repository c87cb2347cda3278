"""How good candidates are: against the data, and against chance.

:func:`score_candidates` counts what was reconstructed and puts beside it the
same numbers for as many images that the network never saw: a blurry
candidate resembles something in every large enough set.

Names of dimensions: n images, m candidates, d = C·H·W pixels, channel first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kkt_ref.metrics.matching import Shape, check_images, image_ssim, match_one_to_one, stretch
from kkt_ref.metrics.ncc import ncc_all_pairs

Floats = NDArray[np.float64]


class ImageScores(NamedTuple):
    """Scores of one set of n images, each with its own candidate."""

    ncc_top10: float  # mean of the ten best NCC
    ncc_08: int  # images with NCC >= 0.8
    ncc_09: int  # images with NCC >= 0.9
    ssim_top10: float  # mean of the ten best SSIM
    ssim_04: int  # images with SSIM >= 0.4


class Scores(NamedTuple):
    """Scores on the training data beside those that chance gives."""

    data: ImageScores
    unseen: ImageScores  # the same candidates, as many images that were not trained on

    @property
    def difference(self) -> ImageScores:
        """``data`` minus ``unseen``, field by field."""
        return ImageScores(*(a - b for a, b in zip(self.data, self.unseen, strict=True)))


def score_candidates(
    images: ArrayLike, candidates: ArrayLike, unseen: ArrayLike, *, mean: ArrayLike, shape: Shape
) -> Scores:
    """Score candidates against the training images and against unseen ones.

    Images and candidates are paired one to one by NCC.  SSIM is measured on
    the same pairs, as the authors measure it: training mean added, candidate
    stretched to [0, 1], Gaussian window of 3.  An image that gets no candidate
    reaches no threshold and counts 0 in a mean.

    Parameters
    ----------
    images : array_like, (n, d)
        The training images, floating, training mean subtracted.
    candidates : array_like, (m, d)
        In the same coordinates; all restarts together.
    unseen : array_like, (n, d)
        Other images of the same classes, the same training mean subtracted.
    mean : array_like, (d,)
        The training mean; image + mean has data range 1.
    shape : (channels, height, width)

    Returns
    -------
    Scores

    Raises
    ------
    TypeError
        If an array is not floating.
    ValueError
        If an array is not finite or does not fit ``shape``, or ``unseen`` has
        not as many images as ``images``.
    """
    images, candidates, unseen, mean = check_images(
        images, candidates, unseen, mean=mean, shape=shape
    )
    if len(unseen) != len(images):
        raise ValueError(
            f"unseen: expected as many images as in images, {len(images)}, got {len(unseen)}; "
            "scores grow with the number of images"
        )
    shown = stretch(candidates + mean)  # (m, d)
    return Scores(*(_scores_on(x, candidates, shown, mean, shape) for x in (images, unseen)))


def _scores_on(
    images: Floats, candidates: Floats, shown: Floats, mean: Floats, shape: Shape
) -> ImageScores:
    by_ncc = match_one_to_one(ncc_all_pairs(images, candidates))
    matched = by_ncc.candidate >= 0  # (n,)
    similarity = np.full(len(images), -np.inf)
    similarity[matched] = image_ssim(
        shown[by_ncc.candidate[matched]], (images + mean)[matched], shape
    )
    by_ssim = by_ncc._replace(score=similarity)
    return ImageScores(
        ncc_top10=by_ncc.top_mean(10),
        ncc_08=by_ncc.count(0.8),
        ncc_09=by_ncc.count(0.9),
        ssim_top10=by_ssim.top_mean(10),
        ssim_04=by_ssim.count(0.4),
    )
