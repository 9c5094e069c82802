"""A pool of processes that outlives its work: one file that kills its worker costs one line in the report, Ctrl-C ends at once.

Processes are spawned, on every system alike: torch and forked processes do not go together.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# Enough that no worker waits for the next file, few enough that little is in the air when a worker dies.
_AHEAD = 3


def each(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int,
    died: Callable[[Task], Result],
    begin: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Results as they come, in no order. work: a module's function. died: the result for a task that killed its process twice.
    begin: called once in each process before its first task.

    workers 1: in this process, without a pool. What `work` raises passes through. Leaving the iteration cancels what has not begun.
    """
    if workers <= 1:
        yield from map(work, tasks)
        return
    rest = iter(tasks)
    suspects: list[Task] = []
    while True:
        lost: list[Task] = []
        yield from _run(work, rest, workers, lost, begin)
        if not lost:
            break
        suspects += lost
    # One at a time, each in a pool of its own: so the one that kills is known.
    for task in suspects:
        again: list[Task] = []
        yield from _run(work, iter([task]), 1, again, begin)
        yield from (died(lost) for lost in again)


def _run(
    work: Callable[[Task], Result],
    tasks: Iterator[Task],
    workers: int,
    lost: list[Task],
    begin: Callable[[], None] | None,
) -> Iterator[Result]:
    """Until the tasks are done, or a worker has died: then what was in the air is in `lost`."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(begin,))
    flying: dict[Future[Result], Task] = {}
    try:
        while True:
            while len(flying) < workers * _AHEAD and (task := next(tasks, None)) is not None:
                try:
                    flying[pool.submit(work, task)] = task
                except BrokenProcessPool:
                    lost += [task, *flying.values()]
                    return
            if not flying:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                task = flying.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    lost += [task, *flying.values()]
                    return
                yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(begin: Callable[[], None] | None) -> None:
    """Ctrl-C reaches the whole group of processes; only the first one answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    """A worker waits for work on a pipe that it also holds the other end of: killed, its parent would leave it there for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
