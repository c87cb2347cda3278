"""Data to train on.

Read in this order: ``toys`` (points in the plane), ``images`` (MNIST and CIFAR-10, with ``readers``
of their files), ``split`` (their problems of two or ten classes).  The folder ``embedded`` holds a
few real images.
"""

from kkt_ref.datasets import toys
from kkt_ref.datasets.images import ImageSet, default_images, embedded_images
from kkt_ref.datasets.split import Split, binary_split, ten_class_split

__all__ = [
    "ImageSet",
    "Split",
    "binary_split",
    "default_images",
    "embedded_images",
    "ten_class_split",
    "toys",
]
