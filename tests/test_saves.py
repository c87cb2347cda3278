"""Saves that are killed, find no room or no folder, and what they leave behind."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref import _io as files
from kkt_ref._io import claim, forget, read_npz
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.conformance.golden import write_golden
from kkt_ref.stationarity import closed_form
from kkt_ref.training import resumable_descent
from tests.public import NET, PROBLEM, X, Y

LARGE = kkt_ref.init_uniform((60, 200, 1), np.random.default_rng(0))


def train(folder, rounds):
    """Train with a save at each record; yields the number of steps done at each save."""
    for steps in range(10, 10 * rounds + 1, 10):
        options = dict(rate=0.1, target_loss=1e-300, max_steps=steps, record_every=1)
        resumable_descent(claim(folder, {}), NET, X, Y, save_seconds=0.0, **options)
        yield steps


def starts(folder, rounds):
    for number in range(1, rounds + 1):
        options = dict(candidates=3, seed=0, restarts=number)
        run_alternations(PROBLEM, folder=claim(folder, {}), **options)
        yield number


def nets(folder, rounds):
    for number in range(rounds):
        kkt_ref.save_net(LARGE.scaled(1.0 + number), folder / "net.npz")
        yield number


def texts(folder, rounds):
    for number in range(rounds):
        with files.write_atomically(folder / "text") as file:
            for _ in range(50):
                file.write(b"%06d\n" % number)
                file.flush()
        yield number


def golden(folder, rounds):
    for number in range(rounds):
        write_golden(folder, seed=number % 2)
        yield number


SERVER = """
import os, sys
from pathlib import Path
from tests import test_saves
for _ in sys.stdin:  # forks, for a new Python would take a hundred times as long
    child = os.fork()
    if not child:
        for done in getattr(test_saves, sys.argv[1])(Path(sys.argv[2]), 10**6):
            os.write(1, b"%d %d\\n" % (os.getpid(), done))
    os.waitpid(child, 0)
    os.write(1, b"killed\\n")
"""


def loads_whole(folder, done):
    """Load every file under its final name; ``done`` is what the loop said it had saved."""
    for path in folder.iterdir():
        if path.name.endswith(".part"):
            continue
        if path.suffix == ".npz":
            read_npz(path, "a save")
        if path.name == "net.npz":
            factor = kkt_ref.load_net(path).weights[0][0, 0] / LARGE.weights[0][0, 0]
            assert done + 1 - 1e-9 <= factor <= done + 2 + 1e-9
        if path.name == "text":
            (number,) = set(path.read_bytes().split())
            assert path.stat().st_size == 350 and done <= int(number) <= done + 1
    if (folder / "training.npz").exists():
        records = read_npz(folder / "training.npz", "training")["records"]
        assert records[-1][0] >= done
        assert np.array_equal(records[:, 0], np.arange(len(records)))
    last = folder / f"start_{done - 1:05d}.npz"
    assert last.exists() or not list(folder.glob("start_*"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("save", [nets, train, starts, texts, golden])
def test_a_save_killed_at_any_moment_leaves_whole_files(tmp_path, save):
    chance = random.Random(0)
    command = [sys.executable, "-c", SERVER, save.__name__, str(tmp_path)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], **pipes) as server:
        for _ in range(50):
            server.stdin.write(b"go\n")
            server.stdin.flush()
            said = [server.stdout.readline()]  # the loop is under way
            time.sleep(chance.uniform(0.0, 0.05))
            os.kill(int(said[0].split()[0]), signal.SIGKILL)
            while said[-1] != b"killed\n":
                said.append(server.stdout.readline())
            loads_whole(tmp_path, int(said[-2].split()[1]))
        server.stdin.close()
    leftovers = list(tmp_path.glob(".*.part"))
    next(save(tmp_path, 2 if save is not starts else 10**6))  # goes on beside what is left
    if save in (train, starts):
        assert not list(tmp_path.glob(".*.part"))
    print(f"{save.__name__}: {len(leftovers)} temporary files were left")


def environment(**more):
    return os.environ | {"OPENBLAS_NUM_THREADS": "1"} | more


SAVES = {
    "save_net": lambda folder: kkt_ref.save_net(NET.scaled(2.0), folder / "net.npz"),
    "descent": lambda folder: list(train(folder, 1)),
    "starts": lambda folder: list(starts(folder, 1)),
    "golden": write_golden,
    "claim": lambda folder: claim(folder, {"n": 1}),
}


# Python 3.10's zipfile complains of the closed file once more when it is collected
@pytest.mark.filterwarnings("ignore:.*ZipFile.__del__:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", SAVES)
@pytest.mark.parametrize("at", ["write", "flush", "fsync", "replace"])
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch, name, at):
    kkt_ref.save_net(NET, tmp_path / "net.npz")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, attribute):
            return full if attribute == at else getattr(self.file, attribute)

    if at in ("fsync", "replace"):
        monkeypatch.setattr(files.os, at, full)
    else:
        opened = open
        monkeypatch.setattr(files, "open", lambda *how: Full(opened(*how)), raising=False)
    with pytest.raises(OSError, match="No space left"):
        SAVES[name](tmp_path)
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != ".lock"}
    assert after == before
    SAVES[name](tmp_path)  # with room again it goes on


@pytest.mark.parametrize("name", SAVES)
def test_a_file_in_place_of_the_folder_is_named(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        SAVES[name](tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


HOLD = """
import sys
from kkt_ref._io import claim
claim(sys.argv[1], {"n": 1})
print("held", flush=True)
sys.stdin.read()
"""


def test_two_runs_in_one_folder(tmp_path):
    pytest.importorskip("filelock", reason="needs pip install 'kkt_ref[audit]'")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        for refused in (lambda: claim(tmp_path, {"n": 1}), lambda: forget(tmp_path)):
            with pytest.raises(ValueError, match="another process does"):
                refused()
        assert (tmp_path / "settings.json").exists()
        other.kill()
    claim(tmp_path, {"n": 1})
    claim(tmp_path, {"n": 1})  # one process may as often as it likes
    with subprocess.Popen(command, stderr=subprocess.PIPE, **pipes) as third:
        assert third.wait(timeout=60) == 1
        assert b"another process does" in third.stderr.read()


@pytest.mark.slow
def test_a_network_of_ten_million_parameters(tmp_path):
    """What is held at once, in units of the weights' own 78 MB."""
    widths, rng = (3072, 2400, 1000, 1), np.random.default_rng(0)
    net = kkt_ref.init_uniform(widths, rng)
    size = net.theta.nbytes
    assert size > 78e6
    x, y = rng.normal(size=(8, 3072)), np.where(np.arange(8) % 2, 1.0, -1.0)
    layers, lam = (1.0, 1.0, 1.0), np.ones(8)
    x[kkt_ref.margins(net, x, y) < 0] *= -1
    y = np.sign(closed_form.forward(net, x).outputs)
    calls = {
        "save_net": (lambda: kkt_ref.save_net(net, tmp_path / "net.npz"), 0.3),
        "load_net": (lambda: kkt_ref.load_net(tmp_path / "net.npz"), 2.5),
        "kkt_report": (lambda: kkt_ref.kkt_report(net, x, y), 5.0),
        "gradient": (lambda: closed_form.stationarity_and_gradient(net, x, y, lam, layers), 1.5),
    }
    for name, (call, limit) in calls.items():
        tracemalloc.start()
        try:
            call()
            peak = tracemalloc.get_traced_memory()[1] / size
        finally:
            tracemalloc.stop()
        print(f"{name}: {peak:.2f} times the weights")
        assert peak < limit, name


def test_nothing_is_written_elsewhere(tmp_path):
    for name in ("home", "work", "work/here"):
        (tmp_path / name).mkdir()
    places = dict(HOME=str(tmp_path / "home"), PYTHONDONTWRITEBYTECODE="1")
    variables = {k: v for k, v in environment(**places).items() if not k.startswith("XDG_")}
    save = "import kkt_ref, numpy as np; rng = np.random.default_rng(0)\n"
    save += "kkt_ref.save_net(kkt_ref.init_uniform((2, 3, 1), rng), 'here/net.npz')"
    for command in (["-m", "kkt_ref", "golden", "here"], ["-c", save]):
        subprocess.run(
            [sys.executable, *command], cwd=tmp_path / "work", env=variables, check=True, timeout=60
        )
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    names = ("golden.npz", "golden.json", "net.npz")
    assert found == {f"work/here/{name}" for name in names}
