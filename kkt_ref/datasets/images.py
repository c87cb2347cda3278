"""MNIST and CIFAR-10: the official files if they are there, or the few embedded images."""

import os
from dataclasses import dataclass
from importlib import resources
from itertools import takewhile
from pathlib import Path

import numpy as np

from kkt_ref._validation import check_path
from kkt_ref.datasets.readers import Labelled, read_cifar10, read_mnist

VARIABLE = "KKT_REF_DATA"
MNIST_FILES = tuple(
    f"mnist/{part}-ubyte.gz"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)
CIFAR10_FILES = ("cifar-10-batches-bin/data_batch_1.bin", "cifar-10-batches-bin/test_batch.bin")
NEEDED = {"mnist": MNIST_FILES, "cifar10": CIFAR10_FILES}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as published, in the order of the file; the embedded sets have no test images."""

    name: str  # "mnist" or "cifar10"
    source: str  # the folder they were read from, or the embedded file
    images: np.ndarray  # (N, channels, height, width), uint8
    labels: np.ndarray  # (N,), uint8 in 0..9
    test_images: np.ndarray  # (T, channels, height, width), uint8
    test_labels: np.ndarray  # (T,), uint8 in 0..9


def cache_root() -> Path:
    """Return the folder for downloads: ``kkt_ref`` in ``XDG_CACHE_HOME`` or in ``~/.cache``."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the XDG specification demands that relative paths are ignored; a user may have no home
    return (base if base.is_absolute() else Path(os.path.expanduser("~/.cache"))) / "kkt_ref"


def default_images(name: str, root: str | Path | None = None) -> ImageSet:
    """Load the official files, or the embedded images if no folder was named and none has them.

    The official files are searched in ``root``; without ``root`` in the folder that the environment
    variable ``KKT_REF_DATA`` names, and then in :func:`cache_root`.  FileNotFoundError is raised if
    ``root`` or the variable is given, and no folder has all the files needed.  CIFAR-10's
    data_batch_2 to 5 are appended, up to the first that is missing.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
    root : path-like, optional
        The only folder to search.
    """
    check_name(name)
    named = os.environ.get(VARIABLE)
    places = [named, cache_root()] if root is None else [check_path(root, "root")]
    roots = [Path(os.path.expanduser(str(place))) for place in places if place]
    for folder in roots:
        if not _missing(name, folder):
            training, test = _read(name, [stored(folder / file) for file in NEEDED[name]])
            return ImageSet(name, str(folder), *training, *test)
    if root is None and not named:
        return embedded_images(name)
    lacks = [f"  {folder} lacks {', '.join(_missing(name, folder))}" for folder in roots]
    raise FileNotFoundError(
        f"{name}: expected the official files in one folder, found them in none of\n"
        + "\n".join(lacks)
        + f"\nSet {VARIABLE} to a folder that has them, or download them to {cache_root()} with\n"
        f"  python -c \"from kkt_ref.datasets import download_images as get; get('{name}')\""
    )


def embedded_images(name: str) -> ImageSet:
    """Load the few real images that come with the package.

    "mnist": the first 500 odd and the first 500 even digits of the training file, in its order, so
    that splits of up to 1000 images equal the official ones.  "cifar10": the first 20 images of
    the *test* file, 10 vehicles and 10 animals.
    """
    check_name(name)
    path = resources.files("kkt_ref.datasets") / "embedded" / f"{name}.npz"
    with path.open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return ImageSet(name, f"embedded {name}.npz", images, labels, images[:0], labels[:0])


def check_name(name: str) -> None:
    """Raise unless ``name`` is that of a data set."""
    if not isinstance(name, str) or name not in NEEDED:
        raise ValueError(f"name: expected one of {', '.join(NEEDED)}, got {name!r}")


def _missing(name: str, root: Path) -> list[str]:
    return [file for file in NEEDED[name] if not os.path.isfile(stored(root / file))]


def stored(path: Path) -> Path:
    """Return the path of a file, or of its decompressed form if only that is there."""
    return path if os.path.isfile(path) or path.suffix != ".gz" else path.with_suffix("")


def _read(name: str, files: list[Path]) -> tuple[Labelled, Labelled]:
    if name == "mnist":
        return read_mnist(*files[:2]), read_mnist(*files[2:])
    first, test = files
    further = (first.with_name(f"data_batch_{number}.bin") for number in range(2, 6))
    return read_cifar10([first, *takewhile(Path.is_file, further)]), read_cifar10([test])
