"""Normalised cross-correlation (NCC) of flat images, from which the training mean was subtracted.

NCC is Pearson's correlation over all pixels and channels together.  It removes the mean of each
image, because any blurred image shares that brightness: if it stays, 13 of 100 images of CIFAR-10
have NCC >= 0.8 with one of 600 blurred other images; otherwise 1.  If each of C channels of p
pixels was standardised before, NCC is 1 − D / (2 C (p − 1)), where D = ‖x̂ − ŷ‖² is the distance in
the code of Haim et al.

The sign counts: the negative of an image is no reconstruction of it.  An image without variance
has correlation 0 with every image, also with itself.

Names of dimensions: n and m images, d numbers in each.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import check_points

_FLAT = 1e-12  # a smaller standard deviation, relative to max|x|, is a rounding error


def ncc_all_pairs(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Return the correlation, in [-1, 1], of every image of x (n, d) with every image of y (m, d).

    The result has the shape (n, m) and float64; the images may have any floating dtype.
    """
    x = check_points(x, "x")
    y = check_points(y, "y", d=x.shape[1])
    return np.clip(unit_images(x) @ unit_images(y).T, -1.0, 1.0)  # (n, m)


def unit_images(x: ArrayLike) -> NDArray[np.float64]:
    """Return images (n, d) of mean 0 and norm 1, or 0 where ``x`` (n, d) has no variance.

    Their inner products are the correlations of ``x``.
    """
    z = check_points(x, "x").astype(np.float64)
    largest = np.abs(z).max(axis=1, keepdims=True)
    z = z / np.where(largest > 0, largest, 1.0)  # so that squares do not underflow
    z = z - z.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    varies = norm > _FLAT * np.sqrt(z.shape[1])
    return np.where(varies, z, 0.0) / np.where(varies, norm, 1.0)
