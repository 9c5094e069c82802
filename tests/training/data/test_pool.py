"""Many processes, and what becomes of the work when one of them dies."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from installation.training.data.pool import each


def double(x: int) -> int:
    return 2 * x


def double_or_die(x: int) -> int:
    if x == 5:
        os._exit(1)
    return 2 * x


def refuse(x: int) -> int:
    raise ValueError(f"not {x}")


def lost(x: int) -> int:
    return -x


def test_one_worker_needs_no_pool() -> None:
    assert list(each(double, range(4), workers=1, died=lost)) == [0, 2, 4, 6]


@pytest.mark.slow
def test_one_task_that_kills_its_process_costs_only_itself() -> None:
    found = sorted(each(double_or_die, range(12), workers=2, died=lost))
    assert found == sorted([-5, *(2 * x for x in range(12) if x != 5)])


@pytest.mark.slow
def test_what_the_work_raises_passes_through() -> None:
    with pytest.raises(ValueError, match=r"not \d"):
        list(each(refuse, range(3), workers=2, died=lost))


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed() -> None:
    code = (
        "import time\n"
        "from installation.training.data.pool import each\n"
        "if __name__ == '__main__':\n"
        "    for _ in each(abs, iter([1, 2, 3]), workers=2, died=abs):\n"
        "        print(_, flush=True)\n"
        "        time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
    assert psutil.wait_procs(children, timeout=60)[1] == []
