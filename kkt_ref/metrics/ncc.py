r"""Normalised cross-correlation (NCC) of flat images: matched pairs and all pairs.

With ``channels=1`` this is the number that kkt_ref reports: images come with
the training mean subtracted, and their NCC is Pearson's correlation over all
pixels and channels together.  It removes each image's own scalar mean too:
what the training mean leaves of it is overall brightness, 23% of the energy
of CIFAR-10 images, and any blur shares it.  With it kept, 13 of 100 images had
NCC >= 0.8 with one of 600 blurred images of others; with it removed, 1.

With ``channels=C`` it is the measure of Haim et al.'s code, which
standardises every channel on its own (x̂ = (x − mean) / std, std with
p − 1 = H·W − 1) and takes the squared distance D = ‖x̂ − ŷ‖².  Since
‖x̂‖² = C (p − 1),

    NCC = 1 − D / (2 C (p − 1)),

the mean of the channels' correlations.  For grey images the two coincide.

The sign is kept: a negative is no reconstruction.  An image (or channel)
without variance has correlation 0 with everything, itself included.

Names of dimensions: n images, m candidates, d = C·H·W pixels, channel first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import check_count, check_points

_FLAT = 1e-12  # a standard deviation below this share of max|x| is rounding


def ncc(x: ArrayLike, y: ArrayLike, *, channels: int = 1) -> NDArray[np.float64]:
    """Return the correlation of matched images.

    Parameters
    ----------
    x, y : array_like, (n, d)
        Flat images, training mean subtracted.
    channels : int
        Number of channels to standardise one by one (Haim et al.); with 1,
        the image is standardised as a whole.

    Returns
    -------
    ndarray, (n,)
        float64 in [-1, 1].

    Raises
    ------
    TypeError, ValueError
        As :func:`unit_images` does; ValueError also if the shapes differ.
    """
    x = unit_images(x, channels=channels, name="x")
    y = unit_images(y, channels=channels, name="y")
    if x.shape != y.shape:
        raise ValueError(
            f"x, y: expected equal shapes (n, d), got {x.shape} and {y.shape}; "
            "use ncc_all_pairs to compare every image with every other"
        )
    return np.clip((x * y).sum(axis=1), -1.0, 1.0)  # (n,)


def ncc_all_pairs(x: ArrayLike, y: ArrayLike, *, channels: int = 1) -> NDArray[np.float64]:
    """Return the correlation of every image of ``x`` with every image of ``y``.

    Parameters
    ----------
    x : array_like, (n, d)
    y : array_like, (m, d)
    channels : int
        As for :func:`ncc`.

    Returns
    -------
    ndarray, (n, m)
        float64 in [-1, 1].

    Raises
    ------
    TypeError, ValueError
        As :func:`unit_images` does; ValueError also if d differs.
    """
    x = unit_images(x, channels=channels, name="x")
    y = unit_images(y, channels=channels, name="y")
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x, y: expected images of equally many pixels, got {x.shape} and {y.shape}"
        )
    return np.clip(x @ y.T, -1.0, 1.0)  # (n, m)


def unit_images(x: ArrayLike, *, channels: int = 1, name: str = "x") -> NDArray[np.float64]:
    """Return images whose inner products are their correlations.

    Parameters
    ----------
    x : array_like, (n, d)
        Floating.
    channels : int
        As for :func:`ncc`.
    name : str
        What to call ``x`` in an error.

    Returns
    -------
    ndarray, (n, d)
        float64; each channel has mean 0 and norm 1/√channels, or is 0 where
        ``x`` has no variance.

    Raises
    ------
    TypeError
        If ``x`` is no floating array.
    ValueError
        If ``x`` is not a non-empty (n, d) array of finite numbers, or
        ``channels`` does not divide d.
    """
    x = check_points(x, name, huge=True)
    n, d = x.shape
    if d % check_count(channels, "channels"):
        raise ValueError(f"channels: expected a divisor of d = {d}, got {channels}")
    z = x.astype(np.float64).reshape(n, channels, -1)  # (n, C, p)
    largest = np.abs(z).max(axis=-1, keepdims=True)
    z = z / np.where(largest > 0, largest, 1.0)  # squares neither overflow nor underflow
    z = z - z.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(z, axis=-1, keepdims=True)
    varies = norm > _FLAT * np.sqrt(z.shape[-1])
    z = np.where(varies, z, 0.0) / np.where(varies, norm * np.sqrt(channels), 1.0)
    return z.reshape(n, d)
