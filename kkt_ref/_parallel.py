"""Independent runs in several processes, or in the executor of another engine.

A worker has one BLAS thread.  It does not import the user's script, so that a script needs no
``if __name__ == "__main__"``.  It leaves Ctrl-C to its parent, and ends when its parent ends.
"""

import importlib.util
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import SpawnContext, SpawnProcess
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
    return os.cpu_count() or 1


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
    numbers: Iterable[int],
    done: Callable[[int, Result], object],
    *,
    workers: Workers = None,
    seconds: float = np.inf,
) -> None:
    """Call ``done(number, run(number))`` for all numbers, in the order in which they complete.

    ``done`` is called in this process.  ``run`` is called in ``workers`` processes, by default as
    many as there are usable cores, or in an executor, which stays open.  It stays in this process
    if it cannot be sent to another one (it uses a class of the user's script, or a lambda), and
    by default also if all runs together take about ``seconds`` < 2, or if this process is itself
    a worker.  With threadpoolctl installed, BLAS has one thread everywhere, so that results do
    not depend on ``workers`` in any bit; without it one worker is a process of its own, unless
    a variable such as OPENBLAS_NUM_THREADS is 1.
    """
    numbers, task = list(numbers), partial(_call, run, np.geterr())
    if isinstance(workers, Executor):
        _collect(workers, task, numbers, done)
        return
    nested = multiprocessing.parent_process() is not None and workers in (None, 1)
    stays = nested or (workers is None and seconds < _SHORT)
    most = 61 if sys.platform == "win32" else len(numbers)  # Windows waits for no more
    count = min(workers or usable_cores(), len(numbers), most)
    if count <= 1:
        stays |= usable_cores() == 1 or importlib.util.find_spec("threadpoolctl") is not None
        stays |= "1" in (os.environ.get(name) for name in _THREADS)
    if stays or not numbers or not _can_be_sent(task):
        for number in numbers:
            done(number, task(number))
        return
    context = _Context()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        _collect(pool, task, numbers, done)
    except BaseException:
        for process in context.started:
            if process.is_alive():
                process.kill()  # its run has no other state than the result
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(
    executor: Executor,
    task: Callable[[int], Result],
    numbers: list[int],
    done: Callable[[int, Result], object],
) -> None:
    futures: dict[Future[Result], int] = {}
    try:
        for number in numbers:
            futures[executor.submit(task, number)] = number
        for future in as_completed(list(futures)):
            done(futures.pop(future), future.result())
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


def _can_be_sent(task: object) -> bool:
    try:
        return b"__main__" not in pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False


class _Worker(SpawnProcess):
    def start(self) -> None:
        """Start with one BLAS thread, without the user's script, and deaf to Ctrl-C."""
        main, before = sys.modules["__main__"], {name: os.environ.get(name) for name in _THREADS}
        if hasattr(signal, "pthread_sigmask"):
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a child inherits it
        try:
            os.environ.update(dict.fromkeys(_THREADS, "1"))
            sys.modules["__main__"] = types.ModuleType("__main__")  # has no file to import again
            super().start()
        finally:
            sys.modules["__main__"] = main
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Context(SpawnContext):
    """The standard way to spawn, with workers as above."""

    def __init__(self) -> None:
        self.started: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]  # noqa: N802
        """Return a new worker, which is not started yet."""
        self.started.append(_Worker(*args, **kwargs))
        return self.started[-1]


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no signal masks
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
