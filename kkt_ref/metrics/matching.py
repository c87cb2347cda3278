r"""Which candidate stands for which image.

Two answers.  :func:`match_one_to_one`, the default of kkt_ref, gives no
candidate to two images, so that counts hold no duplicates.
:func:`nearest_candidates` is the pipeline of Haim et al.'s code, in which one
candidate may serve many images: nearest in NCC, optionally the mean of all
that are about as near, training mean added, stretched to [0, 1], SSIM.

Names of dimensions: n images, m candidates, d = C·H·W pixels, channel first.
"""

from __future__ import annotations

from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d
from scipy.optimize import linear_sum_assignment

from kkt_ref._validation import as_array, check_points, check_positive
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.metrics.ssim import HAIM, ssim

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]  # channels, height, width
_CUBIC = (-0.09375, 0.59375, 0.59375, -0.09375)  # Keys' kernel, a = -0.75, half-way between pixels


class Matching(NamedTuple):
    """A candidate for each of n images, none used twice."""

    candidate: NDArray[np.int64]  # (n,), its index; -1 where the image has none
    score: Floats  # (n,); -inf where the image has none

    def count(self, threshold: float) -> int:
        """Return how many images have a candidate that scores ``threshold`` or more."""
        return int(np.count_nonzero(self.score >= threshold))

    def top_mean(self, k: int = 10) -> float:
        """Return the mean of the k best scores (all n if fewer); an image without one counts 0."""
        score = np.where(self.candidate < 0, 0.0, self.score)
        return float(np.sort(score)[::-1][:k].mean())


class Nearest(NamedTuple):
    """Result of the authors' pipeline, image by image, in the order of the images."""

    candidate: NDArray[np.int64]  # (n,), the nearest; may repeat
    distance: Floats  # (n,), squared L2 after standardising, over pixels searched
    reconstruction: Floats  # (n, d), in [0, 1]
    ssim: Floats  # (n,), of reconstruction and image, window of 3


def match_one_to_one(scores: ArrayLike) -> Matching:
    """Assign candidates to images one to one, with the largest sum of scores.

    With fewer candidates than images, m images are matched and the others
    have candidate -1 and score -inf.

    Parameters
    ----------
    scores : array_like, (n, m)
        Floating; larger is better, as NCC or SSIM.  The sign counts.

    Returns
    -------
    Matching

    Raises
    ------
    TypeError
        If ``scores`` is no floating array.
    ValueError
        If ``scores`` is not a non-empty (n, m) array of finite numbers.
    """
    scores = check_points(scores, "scores")
    image, chosen = linear_sum_assignment(scores, maximize=True)
    candidate = np.full(len(scores), -1, dtype=np.int64)
    candidate[image] = chosen
    score = np.full(len(scores), -np.inf)
    score[image] = scores[image, chosen]
    return Matching(candidate, score)


def nearest_candidates(
    images: ArrayLike,
    candidates: ArrayLike,
    *,
    mean: ArrayLike,
    shape: Shape,
    search: Literal["full", "pooled", "bicubic"] = "full",
    vote: float | None = None,
) -> Nearest:
    r"""Reconstruct and score every image as Haim et al.'s code does.

    Their settings: MNIST ``search="full"``, no vote; CIFAR ``search="bicubic"``,
    ``vote=1.1``.

    Parameters
    ----------
    images : array_like, (n, d)
        Floating, training mean subtracted.
    candidates : array_like, (m, d)
        In the same coordinates.
    mean : array_like, (d,)
        The training mean; image + mean has data range 1.
    shape : (channels, height, width)
    search : {"full", "pooled", "bicubic"}
        Measure distances at full size, or at half size by averaging 2 x 2
        pixels, or as ``torch.nn.functional.interpolate`` halves with
        ``mode="bicubic"``.
    vote : float, optional
        Reconstruct by the mean of all candidates nearer than ``vote`` times
        the nearest distance, > 1, instead of the nearest alone.

    Returns
    -------
    Nearest
        ``distance`` is 2 (1 - 1/p)(1 - NCC), p the pixels of a channel as
        searched, which is theirs.

    Raises
    ------
    TypeError
        If ``images`` or ``candidates`` is no floating array.
    ValueError
        If an array is not finite or does not fit ``shape``, ``search`` is
        unknown, or height and width are odd where they are to be halved.
    """
    images, candidates, mean = check_images(images, candidates, mean=mean, shape=shape)
    if search not in ("full", "pooled", "bicubic"):
        raise ValueError(f"search: expected 'full', 'pooled' or 'bicubic', got {search!r}")
    if vote is not None and check_positive(vote, "vote") <= 1:
        raise ValueError(f"vote: expected a ratio > 1, such as 1.1, or None, got {vote}")
    small = [x if search == "full" else _halved(x, shape, search) for x in (images, candidates)]
    pixels = small[0].shape[1] // shape[0]
    correlation = ncc_all_pairs(small[0], small[1], channels=shape[0])
    distance = 2.0 * (1.0 - 1.0 / pixels) * (1.0 - correlation)  # (n, m)
    candidate = distance.argmin(axis=1)
    nearest = distance.min(axis=1)
    chosen = candidates[candidate]  # (n, d)
    if vote is not None:
        votes = distance < vote * nearest[:, None]  # (n, m)
        votes[np.arange(len(images)), candidate] = True  # also where the distance is 0
        chosen = (votes / votes.sum(axis=1, keepdims=True)) @ candidates  # (n, d)
    reconstruction = stretch(chosen + mean)
    return Nearest(
        candidate, nearest, reconstruction, image_ssim(reconstruction, images + mean, shape)
    )


def stretch(images: Floats) -> Floats:
    """Map each image (n, d) onto [0, 1] by its own minimum and maximum; a constant one to 0."""
    low = images.min(axis=1, keepdims=True)
    span = images.max(axis=1, keepdims=True) - low
    return (images - low) / np.where(span > 0, span, 1.0)


def image_ssim(x: Floats, y: Floats, shape: Shape) -> Floats:
    """Return SSIM (n,) of matched flat images (n, d) of range 1, with the authors' window of 3."""
    return ssim(
        x.reshape(-1, *shape), y.reshape(-1, *shape), data_range=1.0, channel_axis=1, settings=HAIM
    )


def check_images(*arrays: ArrayLike, mean: ArrayLike, shape: Shape) -> tuple[Floats, ...]:
    """Return flat images and the training mean as float64, or raise if they do not fit ``shape``.

    Parameters
    ----------
    *arrays : array_like, (rows, d)
        Images and candidates, floating.
    mean : array_like, (d,)
    shape : (channels, height, width)

    Returns
    -------
    tuple of ndarray
        The arrays, and last the mean.

    Raises
    ------
    TypeError
        If an array is not floating.
    ValueError
        If one is not finite, or d is not channels * height * width.
    """
    whole = isinstance(shape, (tuple, list)) and all(isinstance(s, Integral) for s in shape)
    if not whole or len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape: expected (channels, height, width), all >= 1, got {shape!r}")
    d = int(np.prod(shape))
    mean = as_array(mean, "mean")
    if mean.shape != (d,):
        raise ValueError(f"mean: expected shape ({d},), as shape={shape} says, got {mean.shape}")
    names = ("images", "candidates", "unseen")
    checked = [check_points(x, name, d=d) for x, name in zip(arrays, names, strict=False)]
    checked.append(check_points(mean[None], "mean", d=d)[0])
    return tuple(x.astype(np.float64) for x in checked)


def _halved(x: Floats, shape: Shape, search: str) -> Floats:
    channels, height, width = shape
    if height % 2 or width % 2:
        raise ValueError(f"search: {search!r} needs an even height and width, got shape={shape}")
    if search == "pooled":
        blocks = x.reshape(-1, channels, height // 2, 2, width // 2, 2)
        return blocks.mean(axis=(3, 5)).reshape(len(x), -1)  # (n, d) -> (n, d / 4)
    planes = x.reshape(-1, *shape)
    for axis in (-2, -1):
        planes = correlate1d(planes, _CUBIC, axis=axis, mode="nearest")
    return planes[..., 1::2, 1::2].reshape(len(x), -1)  # (n, d) -> (n, d / 4)
