"""Download of the official files into the cache, by pooch (``pip install 'kkt_ref[data]'``)."""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

from kkt_ref._validation import check_path
from kkt_ref.datasets.images import MNIST_FILES, cache_root, check_name

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/"
MNIST_SHA256 = (  # of MNIST_FILES, in their order
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_BATCHES = tuple(
    f"cifar-10-batches-bin/{batch}.bin"
    for batch in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
)


def download_images(name: str, root: str | Path | None = None, *, progress: bool = False) -> Path:
    """Download the official files of a data set, where :func:`default_images` finds them.

    Files that are there are kept; MNIST's are kept only if their SHA-256 is right.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
    root : path-like, optional
        By default :func:`kkt_ref.datasets.cache_root`.
    progress : bool
        Whether to show progress bars, if tqdm is installed.

    Returns
    -------
    Path
        ``root``.

    Raises
    ------
    ImportError, OSError, ValueError
        If pooch is not installed; if a file cannot be downloaded or written, or has another
        SHA-256; if ``name`` is unknown.
    """
    check_name(name)
    root = cache_root() if root is None else check_path(root, "root").expanduser()
    if name == "mnist":
        for file, sha256 in zip(MNIST_FILES, MNIST_SHA256, strict=True):
            _retrieve(MNIST_URL + file, sha256, (root / file).parent, progress)
    elif not all((root / batch).is_file() for batch in CIFAR10_BATCHES):
        (root / CIFAR10_BATCHES[0]).parent.mkdir(parents=True, exist_ok=True)
        # if this is interrupted, it leaves nothing but this folder, which is then removed
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            _retrieve(CIFAR10_URL, CIFAR10_SHA256, Path(temporary), progress, CIFAR10_BATCHES)
            for batch in CIFAR10_BATCHES:
                os.replace(Path(temporary) / batch, root / batch)
    return root


def _retrieve(
    url: str, sha256: str, folder: Path, progress: bool, unpack: tuple[str, ...] = ()
) -> None:
    """Download one file to ``folder``, check it, and unpack these members of it."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            "download: expected the package pooch; install it with pip install 'kkt_ref[data]'"
        ) from error
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}",
            fname=url.rpartition("/")[2],
            path=folder,
            processor=pooch.Untar(members=list(unpack), extract_dir=".") if unpack else None,
            progressbar=progress and find_spec("tqdm") is not None,
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"{url}: expected to download this file, but {error}; try again later, or get it "
            "elsewhere and let KKT_REF_DATA name its folder"
        ) from error
