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

from kkt_ref._io import claim, fingerprint, forget

ROOT = Path(__file__).parent.parent


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
