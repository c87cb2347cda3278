r"""Normalised cross-correlation (NCC) of flat images, from which the training mean was subtracted.

With ``channels=1`` NCC is Pearson's correlation over all pixels and channels together; kkt_ref
reports this number.  It removes the mean of each image, because any blurred image shares that
brightness: if it stays, 13 of 100 images of CIFAR-10 have NCC >= 0.8 with one of 600 blurred other
images; otherwise 1.  With ``channels=C`` NCC is the mean of the channels' correlations.  For
D = ‖x̂ − ŷ‖², the distance in the code of Haim et al., it is 1 − D / (2 C (p − 1)).

The sign counts: the negative of an image is no reconstruction of it.  An image or channel without
variance has correlation 0 with every image, also with itself.

Names of dimensions: n and m images, C channels, p pixels in a channel, d = C·p, channel first.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kkt_ref._validation import check_count, check_points

_FLAT = 1e-12  # a smaller standard deviation, relative to max|x|, is a rounding error


def ncc_all_pairs(x: ArrayLike, y: ArrayLike, *, channels: int = 1) -> NDArray[np.float64]:
    """Return the correlation of every image of ``x`` with every image of ``y``.

    Parameters
    ----------
    x, y : array_like, (n, d) and (m, d)
        Flat images of any floating dtype.
    channels : int
        C: 1 to standardise the image as a whole, more to standardise every channel.

    Returns
    -------
    ndarray, (n, m)
        float64 in [-1, 1].

    Raises
    ------
    TypeError
        If ``x`` or ``y`` is not floating.
    ValueError
        If an array has another shape, is empty or not finite, or ``channels`` does not divide d.
    """
    x = check_points(x, "x", huge=True)
    y = check_points(y, "y", d=x.shape[1], huge=True)
    scores = unit_images(x, channels=channels) @ unit_images(y, channels=channels).T
    return np.clip(scores, -1.0, 1.0)  # (n, m)


def unit_images(x: ArrayLike, *, channels: int = 1) -> NDArray[np.float64]:
    """Return standardised images: their inner products are their correlations.

    The arguments and errors are as in :func:`ncc_all_pairs`.  The result is float64 of shape
    (n, d).  Each channel has mean 0 and norm 1/√C, or is 0 where ``x`` has no variance.
    """
    x = check_points(x, "x", huge=True)
    n, d = x.shape
    if d % check_count(channels, "channels"):
        raise ValueError(f"channels: expected a divisor of d = {d}, got {channels}")
    z = x.astype(np.float64).reshape(n, channels, -1)  # (n, C, p)
    largest = np.abs(z).max(axis=-1, keepdims=True)
    z = z / np.where(largest > 0, largest, 1.0)  # so that squares neither overflow nor underflow
    z = z - z.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(z, axis=-1, keepdims=True)
    varies = norm > _FLAT * np.sqrt(z.shape[-1])
    z = np.where(varies, z, 0.0) / np.where(varies, norm * np.sqrt(channels), 1.0)
    return z.reshape(n, d)
