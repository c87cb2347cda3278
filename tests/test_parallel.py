"""Runs give the same numbers in one process, in several, and in the executor of another engine."""

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import kkt_ref
from kkt_ref._parallel import run_all

NET = kkt_ref.init_uniform((6, 8, 1), np.random.default_rng(0))
STARTS = {
    "first-layer": dict(candidates=5, restarts=4, seed=1),
    "paper": dict(m=4, restarts=3, seed=1, max_iterations=20),
}
ATTACKS = {
    "first-layer": kkt_ref.attacks.reconstruct_first_layer,
    "paper": kkt_ref.attacks.reconstruct_paper,
}
SCRIPT = """
import multiprocessing, sys
import numpy as np
import kkt_ref

print("once", flush=True)

class Mine(kkt_ref.Softplus):
    pass

def progress(stage, run, x, multipliers):
    print(run, len(multiprocessing.active_children()), flush=True)

net = kkt_ref.init_uniform((6, 8, 1), np.random.default_rng(0))
options = dict(m=3, callback=progress, workers=2)
"""


def arrays(found):
    return found.candidates, found.labels, found.multipliers, found.run_index


def assert_equal(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        assert np.array_equal(a, b)
    assert one.runs == other.runs


@pytest.mark.parametrize("name", ATTACKS)
def test_the_number_of_processes_changes_no_bit_and_no_event(name):
    found, events = {}, {1: [], 2: []}
    for workers, told in events.items():
        options = dict(workers=workers, callback=lambda *event, told=told: told.append(event))
        found[workers] = ATTACKS[name](NET, **STARTS[name], **options)
    assert_equal(found[1], found[2])
    assert_equal(found[1], ATTACKS[name](NET, **STARTS[name]))
    by_run = [sorted(told, key=lambda event: event[1]) for told in events.values()]  # a stable sort
    assert len(by_run[0]) >= len(found[1].runs)
    for a, b in zip(*by_run, strict=True):
        assert a[:2] == b[:2] and np.array_equal(a[2], b[2]) and np.array_equal(a[3], b[3])


@pytest.mark.parametrize("name", ATTACKS)
def test_any_executor_runs_them_and_stays_open(name):
    with ThreadPoolExecutor(2) as executor:
        found = ATTACKS[name](NET, **STARTS[name], workers=executor)
        assert executor.submit(int, 3).result() == 3
    assert_equal(found, ATTACKS[name](NET, **STARTS[name]))


@pytest.mark.slow
def test_a_dask_cluster_runs_them():
    distributed = pytest.importorskip("distributed")
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with distributed.Client(**options) as client:
        for name, attack in ATTACKS.items():
            with client.get_executor() as executor:
                found = attack(NET, **STARTS[name], workers=executor)
            assert_equal(found, attack(NET, **STARTS[name], workers=2))


def state_of_a_worker(number):
    threads = [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")]
    return os.getpid(), threads, np.geterr()["under"]


def test_a_worker_starts_with_one_thread_and_the_parent_keeps_its_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before, main, seen = dict(os.environ), sys.modules["__main__"], []
    with np.errstate(under="raise"):
        run_all(state_of_a_worker, range(3), lambda *result: seen.append(result), workers=2)
    assert sorted(number for number, _ in seen) == [0, 1, 2]
    for _, (process, *state) in seen:
        assert process != os.getpid() and state == [["1"] * 3, "raise"]
    assert dict(os.environ) == before and sys.modules["__main__"] is main


def test_an_interrupted_attack_ends_its_workers():
    def interrupt(*event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kkt_ref.reconstruct(NET, m=4, restarts=5, callback=interrupt, workers=2)
    assert not multiprocessing.active_children()


def reconstructed(_):
    return kkt_ref.attacks.reconstruct_paper(NET, **STARTS["paper"], workers=2)


def test_a_worker_of_a_pool_runs_all_by_itself():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(reconstructed, [0])
    assert_equal(found, kkt_ref.attacks.reconstruct_paper(NET, **STARTS["paper"]))


def nap(number):
    time.sleep(60 * number)


def test_an_interrupt_does_not_wait_for_runs():
    def interrupt(number, result):
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all(nap, range(2), interrupt, workers=2)
    assert time.monotonic() - began < 50


def test_an_error_in_a_worker_is_raised_here():
    with pytest.raises(ValueError, match="alpha: expected"):
        kkt_ref.attacks.reconstruct_paper(NET, 4, restarts=2, alpha="no", workers=2)
    assert not multiprocessing.active_children()


def test_a_plain_script_needs_no_guard(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        SCRIPT
        + "kkt_ref.reconstruct(net, restarts=2, **options)\n"
        + "kkt_ref.reconstruct(net.with_activation(Mine(1.0)), restarts=2, **options)\n"
    )
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=100, check=True
    )
    first, *lines = done.stdout.split("\n")[:-1]
    assert first == "once" and not done.stderr
    assert sorted(lines[:2]) == ["0 2", "1 2"]
    assert lines[2:] == ["0 0", "1 0"]  # a class of the script cannot be sent to a worker


def test_workers_end_when_their_parent_is_killed(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + "kkt_ref.reconstruct(net, restarts=2000, **options)\n")
    options = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    process = subprocess.Popen([sys.executable, path], **options)
    assert process.stdout.readline() == "once\n" and process.stdout.readline().endswith("2\n")
    process.kill()
    process.communicate(timeout=60)  # the output ends when the last process that holds it ends
