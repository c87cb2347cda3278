"""Independent runs in several processes, or in the executor of another engine.

The processes are those of ``concurrent.futures``, started in another way: a worker has one BLAS
thread, and it does not import the user's script, so that a script needs no
``if __name__ == "__main__"``.  Workers ignore Ctrl-C, which the parent handles, and end with it.
"""

import importlib.util
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np

from kkt_ref._validation import check_count

Result = TypeVar("Result")
Workers = Executor | int | None

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_SHORT = 2.0  # seconds; workers take one to start


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return min(os.cpu_count() or 1, 61)  # Windows waits for no more processes


def check_workers(workers: Workers) -> Workers:
    """Return ``workers``, or raise if it is no executor and no count."""
    if workers is None or isinstance(workers, Executor):
        return workers
    if isinstance(workers, (int, np.integer)):
        return check_count(workers, "workers")
    raise TypeError(
        "workers: expected a number of processes or a concurrent.futures.Executor, as Dask's "
        f"Client.get_executor(), got {type(workers).__name__}"
    )


def run_all(
    run: Callable[[int], Result],
    count: int,
    after: Callable[[int, Result], object],
    *,
    workers: Workers = None,
    seconds: float = np.inf,
) -> list[Result]:
    """Return run(0) ... run(count - 1); call ``after(number, result)`` when each has ended.

    ``after`` is called in this process.  ``run`` is called in ``workers`` processes, by default as
    many as there are usable cores, or in an executor, which stays open.  It stays in this process
    if it cannot be sent to another one (it uses a class of the user's script, or a lambda), if
    this process is a worker that may start no others, as those of ``multiprocessing.Pool``, and by
    default also if this is any worker or all runs together take about ``seconds`` < 2.  With
    threadpoolctl installed, BLAS has one thread everywhere, so that results do not depend on
    ``workers`` in any bit on processors of one kind; without it one worker is a process of its
    own, unless a variable such as OPENBLAS_NUM_THREADS is 1.
    """
    task = partial(_call, run, np.geterr())
    if isinstance(workers, Executor):
        content = _pickled(task)  # arrays that an engine unpickles itself may not be aligned
        sent = task if content is None else partial(_run_pickled, content)
        return _collect({workers.submit(sent, number): number for number in range(count)}, after)
    processes = min(workers or usable_cores(), count)
    short = workers is None and seconds < _SHORT
    nested = workers in (None, 1) and multiprocessing.parent_process() is not None
    nested |= bool(multiprocessing.current_process().daemon)  # may start no processes
    threaded = usable_cores() > 1 and importlib.util.find_spec("threadpoolctl") is None
    threaded &= "1" not in (os.environ.get(name) for name in _THREADS)
    if short or nested or (processes <= 1 and not threaded) or _pickled(task) is None:
        results = []
        for number in range(count):
            results.append(task(number))
            after(number, results[-1])
        return results
    spawn = multiprocessing.get_context("spawn")
    before = multiprocessing.active_children()
    with ProcessPoolExecutor(processes, spawn, _start_worker) as pool:
        try:
            with _starting_workers():  # they start when runs are submitted
                futures = {pool.submit(task, number): number for number in range(count)}
            return _collect(futures, after)
        except BaseException:
            for worker in set(multiprocessing.active_children()).difference(before):
                worker.kill()  # workers have no other state than their results
            raise


def _collect(
    futures: dict[Future[Result], int], after: Callable[[int, Result], object]
) -> list[Result]:
    try:
        for future in as_completed(futures):
            after(futures[future], future.result())
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread in a block or a decorated function, if threadpoolctl is installed.

    Several threads gain little in products of this size, and wait for each other on a busy machine.

    Yields
    ------
    None
    """
    if importlib.util.find_spec("threadpoolctl") is None:
        yield
        return
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, "blas"):
        yield


def _call(run: Callable[[int], Result], errors: Any, number: int) -> Result:
    """Run with one BLAS thread, and with the caller's treatment of overflow."""
    with one_thread(), np.errstate(**errors):
        return run(number)


def _pickled(task: object) -> bytes | None:
    """Return the task as bytes, or None if it cannot be sent to another process in this way."""
    try:
        content = pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return None if b"__main__" in content else content


def _run_pickled(content: bytes, number: int) -> Any:
    """Run a task of :func:`_pickled`: NumPy rounds a product of unaligned arrays in another way."""
    return pickle.loads(content)(number)


@contextmanager
def _starting_workers() -> Iterator[None]:
    """Let processes start with one BLAS thread, without the user's script, and without Ctrl-C."""
    main, before = sys.modules["__main__"], dict(os.environ)
    if hasattr(signal, "pthread_sigmask"):
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a child inherits it
    try:
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        sys.modules["__main__"] = types.ModuleType("__main__")  # has no file to import again
        yield
    finally:
        sys.modules["__main__"] = main
        for name in _THREADS:
            del os.environ[name]
        os.environ.update({name: before[name] for name in _THREADS if name in before})
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no signal masks
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # type: ignore[union-attr]
    os._exit(1)
