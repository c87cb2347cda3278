"""CIFAR-10 batches: whole records are read, everything else is refused by name."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkt_ref.datasets.cifar import RECORD, load_cifar10, read_cifar10
from kkt_ref.datasets.idx import CorruptFileError


def records(n, seed=0):
    """Label and pixel bytes of shape (n, 3073)."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (n, RECORD), dtype=np.uint8)
    table[:, 0] = rng.integers(0, 10, n)
    return table


def test_planes_are_red_green_blue_row_by_row(tmp_path):
    path = tmp_path / "one.bin"
    table = np.zeros((1, RECORD), np.uint8)
    table[0, 0] = 7
    table[0, 1 + 1024 + 32 * 5 + 9] = 200  # green, row 5, column 9
    table.tofile(path)
    images, labels = read_cifar10([path])
    assert images.shape == (1, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [7]
    assert images[0, 1, 5, 9] == 200 and images.sum() == 200


def test_further_batches_are_appended_up_to_a_gap(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    batches = {number: records(number, number) for number in (1, 2, 3, 5)}
    for number, table in batches.items():
        table.tofile(folder / f"data_batch_{number}.bin")
    records(4, 9).tofile(folder / "test_batch.bin")
    (images, labels), (_, test_labels) = load_cifar10(tmp_path)
    expected = np.concatenate([batches[1], batches[2], batches[3]])
    np.testing.assert_array_equal(labels, expected[:, 0])
    np.testing.assert_array_equal(images.reshape(6, -1), expected[:, 1:])
    np.testing.assert_array_equal(test_labels, records(4, 9)[:, 0])


GOOD = records(2).tobytes()
LABEL_AT = (0, RECORD)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.integers(0, len(GOOD)).map(lambda k: GOOD[:k]),
        st.tuples(st.sampled_from(LABEL_AT), st.integers(0, 255)).map(
            lambda f: GOOD[: f[0]] + bytes([f[1]]) + GOOD[f[0] + 1 :]
        ),
        st.binary(min_size=1, max_size=9).map(lambda tail: GOOD + tail),
        st.integers(1, 9).map(lambda label: GOOD + bytes([label]) * RECORD),
    )
)
def test_damaged_batches_load_right_or_are_refused(content):
    whole = len(content) > 0 and len(content) % RECORD == 0
    valid = whole and all(label < 10 for label in content[::RECORD])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batch.bin"
        path.write_bytes(content)
        if not valid:
            with pytest.raises(CorruptFileError) as refusal:
                read_cifar10([path])
            assert str(path) in str(refusal.value)
            return
        images, labels = read_cifar10([path])
    rejoined = np.concatenate([labels[:, None], images.reshape(len(labels), -1)], axis=1)
    assert rejoined.tobytes() == content


def test_the_bad_one_of_two_files_is_named(tmp_path):
    good, bad = tmp_path / "good.bin", tmp_path / "bad.bin"
    good.write_bytes(GOOD)
    bad.write_bytes(GOOD[:-1])
    with pytest.raises(CorruptFileError, match=r"bad\.bin.*3073.*6,145"):
        read_cifar10([good, bad])
