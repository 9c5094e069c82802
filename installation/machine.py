"""What this machine has, or the container we are in, and what is installed. The standard library alone, for every room."""

from __future__ import annotations

import os
from pathlib import Path


def total_memory() -> int | None:
    """Bytes of memory this process may use; None where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = container_limit("memory.max")
    return min(total, int(limit[0])) if limit and limit[0].isdecimal() else total


def cores() -> int:
    """Cores that this process may use: fewer than there are, under `taskset` or in some containers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def container_limit(name: str) -> list[str]:
    """The words of a limit of Linux's control groups, such as cpu.max; [] where there is none."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().split()
    except OSError:
        return []


def version(distribution: str = "installation") -> str:
    """Of an installed package; "" where it is not installed, as this program in a checkout of its own may be."""
    from importlib import metadata  # takes longer than all else here

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
