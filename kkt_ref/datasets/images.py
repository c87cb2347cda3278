"""Real images: where they are looked for, and the embedded few."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from kkt_ref._validation import check_path
from kkt_ref.datasets.cifar import CIFAR10_FILES, load_cifar10
from kkt_ref.datasets.idx import MNIST_FILES, load_mnist

VARIABLE = "KKT_REF_DATA"
NEEDED = {"mnist": MNIST_FILES, "cifar10": CIFAR10_FILES}
LOAD = {"mnist": load_mnist, "cifar10": load_cifar10}


class MissingDataError(FileNotFoundError):
    """The official files of a data set are in none of the places looked at."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as published, in file order.

    The test arrays have length 0 in the embedded sets.
    """

    name: str  # "mnist" or "cifar10"
    source: str  # the folder they were read from, or the embedded file
    images: np.ndarray  # (N, channels, height, width), uint8
    labels: np.ndarray  # (N,), uint8 in 0..9
    test_images: np.ndarray  # (T, channels, height, width), uint8
    test_labels: np.ndarray  # (T,), uint8 in 0..9


def cache_root() -> Path:
    """Folder for downloads: ``kkt_ref`` in ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the XDG specification has relative paths ignored
    return (base if base.is_absolute() else Path.home() / ".cache") / "kkt_ref"


def official_images(name: str, root: str | Path | None = None) -> ImageSet:
    """Load the official files.

    They are looked for, under the paths in `NEEDED`, in ``root`` if given, otherwise in
    the folder that the environment variable ``KKT_REF_DATA`` names, then in `cache_root`.
    CIFAR-10's data_batch_2 to 5 are appended as far as they are there without a gap.

    Parameters
    ----------
    name : "mnist" or "cifar10"
    root : path, optional
        The one folder to look in.

    Returns
    -------
    ImageSet

    Raises
    ------
    MissingDataError
        If no folder holds all the files needed.
    CorruptFileError
        If a file is damaged; the message names it.
    ValueError
        If ``name`` is unknown.
    """
    _check_name(name)
    roots = _roots(root)
    for folder in roots:
        if not _missing(name, folder):
            training, test = LOAD[name](folder)
            return ImageSet(name, str(folder), *training, *test)
    raise MissingDataError(_what_is_missing(name, roots))


def embedded_images(name: str) -> ImageSet:
    """Load the few real images that come with the package.

    MNIST: the first 500 odd and the first 500 even digits of the training file, in
    file order, so that splits of up to 1000 images equal the official ones. CIFAR-10:
    the first 20 images of the *test* file, 10 vehicles and 10 animals.

    Parameters
    ----------
    name : "mnist" or "cifar10"

    Returns
    -------
    ImageSet
        Without test images.

    Raises
    ------
    ValueError
        If ``name`` is unknown.
    """
    _check_name(name)
    with (
        resources.as_file(resources.files("kkt_ref.datasets") / "embedded" / f"{name}.npz") as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        images, labels = arrays["images"], arrays["labels"]
    return ImageSet(name, f"embedded {name}.npz", images, labels, images[:0], labels[:0])


def default_images(name: str, root: str | Path | None = None) -> ImageSet:
    """Load the official files, or the embedded images if nobody said where files are.

    Parameters
    ----------
    name : "mnist" or "cifar10"
    root : path, optional
        As in `official_images`.

    Returns
    -------
    ImageSet
        Its ``source`` says which it is.

    Raises
    ------
    MissingDataError
        If ``root`` or ``KKT_REF_DATA`` is given and the files are not found.
    CorruptFileError, ValueError
        As in `official_images`.
    """
    try:
        return official_images(name, root)
    except MissingDataError:
        if root is not None or os.environ.get(VARIABLE):
            raise
        return embedded_images(name)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or name not in NEEDED:
        raise ValueError(f"name: expected one of {', '.join(NEEDED)}, got {name!r}")


def _roots(root: str | Path | None) -> list[Path]:
    if root is not None:
        return [check_path(root, "root").expanduser()]
    named = os.environ.get(VARIABLE)
    return ([Path(named).expanduser()] if named else []) + [cache_root()]


def _missing(name: str, root: Path) -> list[str]:
    return [file for file in NEEDED[name] if not (root / file).is_file()]


def _what_is_missing(name: str, roots: list[Path]) -> str:
    places = [f"  {root} lacks {', '.join(_missing(name, root))}" for root in roots]
    return "\n".join(
        [f"{name}: expected the official files in one folder, found them in none of"]
        + places
        + [
            f"Set {VARIABLE} to a folder that has them, or download them to {cache_root()} with",
            f'  python -c "from kkt_ref.datasets.download import download_{name} as get; get()"',
            f"or use the few images in the package: "
            f'kkt_ref.datasets.images.embedded_images("{name}").',
        ]
    )
