"""Runs give the same numbers in one process, in several, and in the executor of another engine."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import kkt_ref
from kkt_ref._parallel import run_all
from tests.programs import state_of_a_worker
from tests.public import PHOTOS

NET = kkt_ref.init_uniform((6, 8, 1), np.random.default_rng(0))
paper = partial(kkt_ref.attacks.reconstruct_paper, NET, m=4, restarts=3, seed=1, max_iterations=20)
ATTACKS = {
    "paper": paper,
    "first-layer": partial(
        kkt_ref.attacks.reconstruct_first_layer, NET, candidates=5, restarts=4, seed=1
    ),
    "components": partial(
        kkt_ref.attacks.reconstruct_components, PHOTOS, image_shape=(1, 6, 6), restarts=2
    ),
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
kkt_ref.reconstruct(net.with_activation(Mine(1.0)), restarts=2, **options)
kkt_ref.reconstruct(net, restarts=2000, **options)
"""


def assert_equal(one, other):
    for name in ("candidates", "labels", "multipliers", "run_index"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.runs == other.runs


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_the_number_of_processes_changes_no_bit_and_no_event(name):
    found, events = {}, {1: [], 2: []}
    for workers, told in events.items():
        found[workers] = ATTACKS[name](
            workers=workers, callback=lambda *event, told=told: told.append(event)
        )
    assert_equal(found[1], found[2])
    assert_equal(found[1], ATTACKS[name]())
    by_run = [sorted(told, key=lambda event: event[1]) for told in events.values()]  # a stable sort
    assert len(by_run[0]) >= len(found[1].runs)
    for a, b in zip(*by_run, strict=True):
        assert a[:2] == b[:2] and np.array_equal(a[2], b[2]) and np.array_equal(a[3], b[3])


class Buffered(ThreadPoolExecutor):
    """Sends arrays as Dask does: apart from the pickle, in buffers that begin at any byte."""

    def submit(self, task, number):
        buffers = []
        content = pickle.dumps(task, protocol=5, buffer_callback=buffers.append)
        moved = [memoryview(b"." + bytes(buffer))[1:] for buffer in buffers]
        return super().submit(pickle.loads(content, buffers=moved), number)


@pytest.mark.parametrize("name", ATTACKS)
def test_any_executor_runs_them_and_stays_open(name):
    with Buffered(2) as executor:
        found = ATTACKS[name](workers=executor)
        assert executor.submit(int, 3).result() == 3
    assert_equal(found, ATTACKS[name]())


@pytest.mark.slow
def test_a_dask_cluster_runs_them():
    distributed = pytest.importorskip("distributed")
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with distributed.Client(**options) as client:
        for name in ATTACKS:
            with client.get_executor() as executor:
                found = ATTACKS[name](workers=executor)
            assert_equal(found, ATTACKS[name](workers=2))


def test_workers_have_one_thread_and_an_interrupt_ends_them_and_keeps_the_environment(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before, main, seen = dict(os.environ), sys.modules["__main__"], {}

    def interrupt(number, state):
        seen[number] = state
        if len(seen) == 2:
            raise KeyboardInterrupt

    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    other.start()
    run = partial(state_of_a_worker, tmp_path / "slept")
    with np.errstate(under="raise"), pytest.raises(KeyboardInterrupt):
        run_all(run, 3, interrupt, workers=2)
    assert multiprocessing.active_children() == [other] and not (tmp_path / "slept").exists()
    other.kill()
    assert seen.keys() == {0, 1}
    for process, *state in seen.values():
        assert process != os.getpid() and state == [["1"] * 3, "raise"]
    assert dict(os.environ) == before and sys.modules["__main__"] is main


def test_a_process_that_may_start_no_others_runs_all_by_itself(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # as in a Pool
    assert_equal(paper(workers=2), paper())
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: 0)  # as in any worker
    here = run_all(partial(state_of_a_worker, None), 2, lambda *_: None)
    assert {process for process, *_ in here} == {os.getpid()}


def test_an_interrupt_cancels_what_has_not_begun():
    begun = []

    def run(number):
        begun.append(number)
        time.sleep(0.01)

    def interrupt(number, result):
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        run_all(run, 50, interrupt, workers=executor)
    assert len(begun) < 50


def test_a_plain_script_needs_no_guard_and_its_workers_end_when_it_is_killed(tmp_path):
    path, said = tmp_path / "script.py", tmp_path / "said"
    path.write_text(SCRIPT)
    with said.open("w") as errors:
        options = dict(stdout=subprocess.PIPE, stderr=errors, text=True)
        process = subprocess.Popen([sys.executable, path], **options)
    assert process.stdout.readline() == "once\n"
    # a class of the script cannot be sent to a worker
    assert [process.stdout.readline() for _ in range(2)] == ["0 0\n", "1 0\n"]
    assert process.stdout.readline().endswith(" 2\n") and not said.read_text()
    process.kill()
    rest = process.communicate(timeout=60)[0]  # ends with the last process that holds the output
    assert "once" not in rest
