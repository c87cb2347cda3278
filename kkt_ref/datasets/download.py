"""Download of the official files into the cache, by pooch (``pip install 'kkt_ref[data]'``)."""

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from kkt_ref._validation import check_path
from kkt_ref.datasets.images import CIFAR10_FILES, MNIST_FILES, cache_root, check_name

SERVERS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/",
}
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
_SHA256 = """
mnist/train-images-idx3-ubyte.gz 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
mnist/train-labels-idx1-ubyte.gz 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
mnist/t10k-images-idx3-ubyte.gz 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
mnist/t10k-labels-idx1-ubyte.gz f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
cifar-10-binary.tar.gz c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
"""
REGISTRY: dict[str, str] = dict(line.split() for line in _SHA256.strip().splitlines())


def download_images(name: str, root: str | Path | None = None, *, progress: bool = False) -> Path:
    """Download the official files of a data set where :func:`default_images` finds them.

    Files that are there are kept, also decompressed ones; compressed ones only if their SHA-256 is
    right.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
    root : path-like, optional
        By default :func:`kkt_ref.datasets.cache_root`.
    progress : bool
        Whether to show progress bars, if tqdm is installed.
    """
    check_name(name)
    root = Path(os.path.expanduser(cache_root() if root is None else check_path(root, "root")))
    if root.parts[:1] == ("~",):
        raise ValueError("root: expected a folder, since this user has no home for a cache")
    batches = (root / CIFAR10_FILES[0]).parent
    if name == "mnist":
        packed = [file for file in MNIST_FILES if not os.path.isfile((root / file).with_suffix(""))]
        _fetch(name, packed, root, progress)
    elif len(list(batches.glob("*.bin"))) < 6:
        batches.mkdir(parents=True, exist_ok=True)
        # if this is interrupted, it leaves nothing but this folder, which is then removed
        with tempfile.TemporaryDirectory(dir=root) as temporary:
            _fetch(name, [CIFAR10_ARCHIVE], Path(temporary), progress)
            for batch in (Path(temporary) / batches.name).glob("*.bin"):
                os.replace(batch, batches / batch.name)
    return root


def _fetch(name: str, files: Sequence[str], folder: Path, progress: bool) -> None:
    """Download the files that a folder lacks, check them, and unpack an archive beside itself."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            "download: expected the package pooch; install it with pip install 'kkt_ref[data]'"
        ) from error
    for file in files:
        try:
            pooch.create(folder, SERVERS[name], registry=REGISTRY).fetch(
                file,
                processor=pooch.Untar(extract_dir=".") if file == CIFAR10_ARCHIVE else None,
                progressbar=progress and find_spec("tqdm") is not None,
            )
        except (OSError, ValueError) as error:
            raise OSError(
                f"{SERVERS[name]}{file}: expected to download this file, but {error}; try again "
                "later, or get it elsewhere and let KKT_REF_DATA name its folder"
            ) from error
