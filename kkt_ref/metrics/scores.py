"""Scores of candidates against the training images, beside the same scores by chance.

A blurred candidate resembles some image of every large set.  Therefore every score is given twice:
for the training images, and for as many images that the network never saw (the null).

Names of dimensions: n images, m candidates, d = C·H·W pixels, channel first.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import Shape, as_array, check_image_shape, check_points
from kkt_ref.metrics.matching import match_one_to_one
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.ssim import HAIM, structural_similarity

Floats = NDArray[np.float64]


class ImageScores(NamedTuple):
    """Scores of one set of n images; an image without a candidate counts as 0 in the means."""

    ncc_top10: float  # mean of the ten best NCC
    ncc_08: int  # images with NCC >= 0.8
    ncc_09: int  # images with NCC >= 0.9
    ssim_top10: float  # mean of the ten best SSIM
    ssim_04: int  # images with SSIM >= 0.4


class Scores(NamedTuple):
    """Scores on the training data, and the same scores by chance."""

    data: ImageScores
    unseen: ImageScores  # the same candidates on as many images that were not trained on


def score_candidates(
    images: ArrayLike, candidates: ArrayLike, unseen: ArrayLike, *, mean: ArrayLike, shape: Shape
) -> Scores:
    """Score candidates against the training images and against unseen images.

    Candidates are assigned to images one to one by NCC.  SSIM is measured on the same pairs as by
    Haim et al., after the mean is added and the candidate is stretched to [0, 1].

    Parameters
    ----------
    images, candidates, unseen : array_like, (n, d), (m, d) and (n, d)
        Floating; the training mean is subtracted from all.
    mean : array_like, (d,)
        The training mean, floating; pixels of images + mean are in [0, 1].
    shape : (channels, height, width)
        Height and width are at least 3 pixels, the window of SSIM.
    """
    d = math.prod(check_image_shape(shape, "shape"))
    arrays = dict(images=images, candidates=candidates, unseen=unseen)
    arrays["mean"] = as_array(mean, "mean")[None]  # (1, d)
    images, candidates, unseen, mean = (
        check_points(array, name, d=d).astype(np.float64) for name, array in arrays.items()
    )
    if len(unseen) != len(images):
        raise ValueError(
            f"unseen: expected as many images as in images, {len(images)}, got {len(unseen)}; "
            "scores grow with the number of images"
        )
    return Scores(*(_scores_on(x, candidates, mean, shape) for x in (images, unseen)))


def stretch(images: Floats) -> Floats:
    """Map each image (n, d) to [0, 1] by its own minimum and maximum; a constant image to 0."""
    low = images.min(axis=1, keepdims=True)
    span = images.max(axis=1, keepdims=True) - low
    return (images - low) / np.where(span > 0, span, 1.0)


def _scores_on(images: Floats, candidates: Floats, mean: Floats, shape: Shape) -> ImageScores:
    by_ncc = match_one_to_one(ncc_all_pairs(images, candidates))
    matched = by_ncc.candidate >= 0  # (n,)
    shown = stretch(candidates[by_ncc.candidate[matched]] + mean)  # (matched, d)
    similarity = np.full(len(images), -np.inf)
    similarity[matched] = structural_similarity(
        shown.reshape(-1, *shape),
        (images[matched] + mean).reshape(-1, *shape),
        data_range=1.0,
        channel_axis=1,
        settings=HAIM,
    )
    by_ssim = by_ncc._replace(score=similarity)
    return ImageScores(
        ncc_top10=by_ncc.top_mean(10),
        ncc_08=by_ncc.count(0.8),
        ncc_09=by_ncc.count(0.9),
        ssim_top10=by_ssim.top_mean(10),
        ssim_04=by_ssim.count(0.4),
    )
