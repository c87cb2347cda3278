"""Files that are read back or written: damaged at random, without room, or in use."""

import errno
import io
import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kkt_ref
from kkt_ref import _io as files
from kkt_ref._io import read_npz
from kkt_ref.audit.weights import load_weights
from kkt_ref.stationarity import closed_form
from tests.networks import state_dict
from tests.public import NET

LARGE = kkt_ref.init_uniform((60, 200, 1), np.random.default_rng(0))


def network(net):
    return [*net.arrays, str(net.activation)]


# the files that kkt_ref reads back, and what is read from them
LOAD = {
    "net.npz": lambda path: network(kkt_ref.load_net(path)),
    "state.npz": lambda path: network(load_weights(path).net),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a whole file of each kind, by name."""
    folder = tmp_path_factory.mktemp("whole")
    kkt_ref.save_net(NET, folder / "net.npz")
    np.savez(folder / "state.npz", **state_dict(NET))
    return {name: (folder / name).read_bytes() for name in LOAD}


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def read_or_refuse(name, content):
    """What is read from these bytes, or None if they are refused by the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return LOAD[name](path)
        except ValueError as error:
            assert name in str(error) or folder in str(error), error
            return None


def flipped(content, flips):
    changed = bytearray(content)
    for place, bits in flips:
        changed[place % len(content)] ^= bits
    return bytes(changed)


PLACES = st.integers(0, 2**32 - 1)
# functions that damage the content of a file
DAMAGE = st.one_of(
    PLACES.map(lambda place: lambda content: content[: place % len(content)]),
    st.lists(st.tuples(PLACES, st.integers(1, 255)), min_size=1).map(
        lambda flips: lambda content: flipped(content, flips)
    ),
    st.binary(min_size=1, max_size=40).map(lambda tail: lambda content: content + tail),
    st.sampled_from([b"", b"{}", b"[1]", b"null", b'"text"', b"hello"]).map(
        lambda other: lambda content: other
    ),
)


@pytest.mark.parametrize("name", LOAD)
@given(damage=DAMAGE)
def test_damage_is_refused_or_does_no_harm(whole, name, damage):
    got = read_or_refuse(name, damage(whole[name]))
    assert got is None or same(got, read_or_refuse(name, whole[name]))


@pytest.mark.parametrize("name", LOAD)
def test_every_flip_of_the_archives_directory(whole, name):
    """Names, sizes and counts stand at the end, and no checksum guards them."""
    content = whole[name]
    right = read_or_refuse(name, content)
    for place in range(content.index(b"PK\x01\x02"), len(content), 3):
        for bits in (0x01, 0x35):
            got = read_or_refuse(name, flipped(content, [(place, bits)]))
            assert got is None or same(got, right), (place, bits)


WRONG = [
    *(np.array("text"), np.float64(np.nan), np.full((2, 2), np.inf), np.zeros((0, 3))),
    *(np.arange(3), np.array(1 + 2j), np.zeros((2, 2, 2), np.float16)),
    *(np.zeros(2, [("a", float)]), np.array(["2020-01-01"], "M8[D]")),
]


@pytest.mark.parametrize("name", LOAD)
def test_entries_of_another_kind_are_refused(whole, name, tmp_path):
    path = tmp_path / name

    def read(arrays):
        np.savez(path, **arrays)
        return read_or_refuse(name, path.read_bytes())

    path.write_bytes(whole[name])
    arrays = read_npz(path, "")
    assert read(arrays | {"more": np.ones(3)}) is None
    for entry in arrays.keys() - {"alpha"}:  # other values are as good
        for wrong in WRONG:
            assert read(arrays | {entry: wrong}) is None, (entry, wrong)
        # a network without a bias is another network, and no damage
        left = {other: arrays[other] for other in arrays if other != entry}
        other = entry.startswith("b_") or entry.endswith("bias") or entry in ("depth", "2.weight")
        assert read(left) is None or other, entry


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", LOAD)
def test_nothing_in_a_file_is_executed(whole, name, tmp_path):
    path, trap = tmp_path / name, tmp_path / "executed"
    path.write_bytes(whole[name])
    arrays, bomb = read_npz(path, ""), np.array([Bomb(trap)], object)
    for entry in arrays:
        np.savez(path, **arrays | {entry: bomb})
        assert read_or_refuse(name, path.read_bytes()) is None
    np.save(path.with_suffix(".npy"), bomb)
    assert read_or_refuse(name, path.with_suffix(".npy").read_bytes()) is None
    assert not trap.exists()
    np.load(path.with_suffix(".npy"), allow_pickle=True)
    assert trap.exists()  # the trap works


def save(folder, number):
    """Save another network for each number."""
    kkt_ref.save_net(LARGE.scaled(number), folder / "net.npz")


@pytest.mark.parametrize("at", ["write", "flush", "fsync", "replace"])
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch, at):
    save(tmp_path, 1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if at in ("fsync", "replace"):
        monkeypatch.setattr(files.os, at, full)
    else:
        monkeypatch.setattr(files, "open", type("Full", (io.FileIO,), {at: full}), raising=False)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    save(tmp_path, 2)  # with room again it goes on


@pytest.mark.slow
def test_a_network_of_ten_million_parameters(tmp_path):
    """What is held at once, in units of the weights' own 78 MB."""
    rng = np.random.default_rng(0)
    net = kkt_ref.init_uniform((3072, 2400, 1000, 1), rng)
    x, lam, layers = rng.normal(size=(8, 3072)), np.ones(8), (1.0, 1.0, 1.0)
    y = np.sign(closed_form.forward(net, x).outputs)
    for call, limit in (
        (lambda: kkt_ref.save_net(net, tmp_path / "net.npz"), 0.3),
        (lambda: kkt_ref.load_net(tmp_path / "net.npz"), 2.5),
        (lambda: kkt_ref.kkt_report(net, x, y), 5.0),
        (lambda: closed_form.stationarity_and_gradient(net, x, y, lam, layers), 1.5),
    ):
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1] / net.theta.nbytes
        tracemalloc.stop()
        assert peak < limit, peak
