"""A run that was stopped ends with the same numbers as one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref._io import claim, fingerprint, forget
from kkt_ref.training import resumable_descent
from tests.strategies import separable

ROOT = Path(__file__).parent.parent
X, Y = separable(0, n=8, d=5)
NET = kkt_ref.init_uniform((5, 12, 6, 1), np.random.default_rng(0))
TRAINING = dict(rate=3.0, target_loss=1e-5, record_every=10, save_seconds=0.0)


def stop_after(records):
    left = iter(range(records))

    def callback(record, net):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return callback


def test_training_goes_on_bit_for_bit(tmp_path):
    whole = kkt_ref.loss_scaled_descent(NET, X, Y, rate=3.0, target_loss=1e-5, record_every=10)
    for records in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            resumable_descent(tmp_path, NET, X, Y, callback=stop_after(records), **TRAINING)
    for _ in range(2):
        parts = resumable_descent(tmp_path, NET, X, Y, **TRAINING).result
        assert parts.steps == whole.steps > 60
        assert np.array_equal(parts.net.theta, whole.net.theta)
        assert parts.history.records == whole.history.records
        assert np.array_equal(parts.multipliers, whole.multipliers)


def test_another_run_is_refused_by_name(tmp_path):
    claim(tmp_path, {"n": 10, "shape": (1, 2)})
    claim(tmp_path, {"n": 10, "shape": (1, 2)})
    with pytest.raises(ValueError, match="n 10 instead of 20"):
        claim(tmp_path, {"n": 20, "shape": (1, 2)})
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ValueError, match="expected JSON"):
        claim(tmp_path, {"n": 10})


def test_forget_removes_the_state_and_nothing_else(tmp_path):
    claim(tmp_path, {})
    (tmp_path / "start_00000.npz").write_bytes(b"")
    (tmp_path / "mine.txt").write_text("keep")
    forget(tmp_path)
    forget(tmp_path / "missing")
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"mine.txt"}


def test_the_state_of_another_network_is_refused(tmp_path):
    resumable_descent(tmp_path, NET, X, Y, **TRAINING)
    other = kkt_ref.init_uniform((5, 3, 1), np.random.default_rng(0))
    with pytest.raises(ValueError, match="training.npz: expected .* delete the file"):
        resumable_descent(tmp_path, other, X, Y, **TRAINING)


def test_fingerprints_differ():
    a = np.arange(6.0)
    assert fingerprint(a) == fingerprint(a.copy())
    others = [a + 1, a.astype(np.float32), a.reshape(2, 3)]
    assert len({fingerprint(a), *map(fingerprint, others)}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_demo_ends_as_an_uninterrupted_one(tmp_path, number):
    command = [sys.executable, str(ROOT / "demos" / "mnist.py"), "--n", "20", "--width", "300"]
    environment = os.environ | {"KKT_REF_DATA": "", "OPENBLAS_NUM_THREADS": "1"}

    def start(*more):
        options = dict(cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        return subprocess.Popen([*command, "--restarts", "40", *more], **options)

    def saved():
        return len(list((tmp_path / "state").glob("start_*.npz")))

    assert start("--json", "whole.json", "--out", "whole").wait(timeout=200) == 0
    began, process = time.monotonic(), start("--out", "state")
    while saved() < 3:
        assert time.monotonic() - began < 100 and process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(timeout=60) in (130, -number)
    assert 3 <= saved() < 40
    assert start("--out", "state", "--resume", "--json", "parts.json").wait(timeout=200) == 0

    whole, parts = (json.loads((tmp_path / f"{w}.json").read_text()) for w in ("whole", "parts"))
    for table in (whole, parts):
        del table["seconds"], table["reconstruct_seconds"], table["train"]["seconds"]
    assert whole == parts
