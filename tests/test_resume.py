"""The folder with the state of a run: claimed by one run, recognised, and emptied."""

import numpy as np
import pytest

from kkt_ref._io import claim, fingerprint, forget


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
