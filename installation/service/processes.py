"""One process seen from both ends: `Child` is the supervisor's handle of it, `ParentWatch` its eye on the supervisor.

The thread between them is a pipe to the child's standard input, which every system has. "stop" on it means: please
stop. Its end without that word means: the supervisor is dead.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from installation.errors import EXIT_TEMPORARY
from installation.service.runfolder import remove_tree

# What a status on the board begins with when it says why its process ended.
FAULT = "fault: "
_STOP = b"stop\n"
# After the supervisor's request, for the process's own clean end; then a thread ends it (exit code 75).
_GRACE_S = 2.0
_KILL_S = 1.0
_TRIES = 5


class Child:
    """Starts, asks and kills one process. Supervisor's main thread."""

    def __init__(self, role: str, command: Sequence[str]) -> None:
        self.role, self.command = role, list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """OSError when the system cannot. A session of its own (POSIX) or a process group (Windows): Ctrl-C in the
        terminal reaches the supervisor alone, and what the child starts can be ended with it."""
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, bufsize=0, start_new_session=os.name == "posix", creationflags=flags
        )

    def ended(self) -> int | None:
        """The exit code (negative: the signal that ended it) once it has ended, and the handle is free; None while it
        runs."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._kill_group()
        self._close_pipe()
        self._process = None
        return code

    def ask_to_stop(self) -> None:
        if self._process and self._process.stdin:
            try:
                self._process.stdin.write(_STOP)
            except OSError:  # it is ending already
                pass
            self._close_pipe()

    def kill(self) -> bool:
        """Ends it and what it started, at once; also when it is stopped by a signal. Whether it has ended within a
        second: a process inside a driver that does not answer stays. `ended` gives its exit code as ever."""
        if self._process:
            self._kill_group()
            self._process.kill()
            try:
                self._process.wait(_KILL_S)
            except subprocess.TimeoutExpired:
                return False
        return True

    def _kill_group(self) -> None:
        if os.name == "posix" and self._process:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # nobody left; macOS says the second for a dead leader
                return

    def _close_pipe(self) -> None:
        if self._process and self._process.stdin:
            try:
                self._process.stdin.close()
            except OSError:  # the other end is gone
                return


class ParentWatch:
    """For the wall and the engine: whether the supervisor lives and wants them to go on.

    run_folder: removed when the supervisor died, because nobody else is left to. Standard input is the supervisor's pipe.
    """

    def __init__(self, run_folder: Path) -> None:
        self._run_folder = run_folder
        self._gone = threading.Event()
        self.orphaned = False
        _wake_when_orphaned()
        threading.Thread(target=self._listen, name="parent-watch", daemon=True).start()

    def alive(self) -> bool:
        """False as soon as the supervisor asked for the end, or is dead."""
        return not self._gone.is_set()

    def finish(self) -> None:
        """Last thing before the process ends, with the board closed: Windows removes no file that is open."""
        if self.orphaned:
            remove_tree(self._run_folder)

    def _listen(self) -> None:
        # os.read and not sys.stdin: a thread inside a buffered file at the interpreter's end is a fatal error.
        heard = b""
        while True:
            try:
                data = os.read(0, 64)
            except OSError:
                data = b""
            heard = (heard + data)[-64:]
            if not data or _STOP in heard:
                break
        self.orphaned = _STOP not in heard
        self._gone.set()
        self.finish()
        time.sleep(_GRACE_S)
        self.finish()
        os._exit(EXIT_TEMPORARY)


def step_back(niceness: int) -> None:
    """From now on this process, and what it starts, lets others go first: 0 not at all, 19 whenever they want to.

    Linux shares its cores among sessions before it looks at niceness, which counts within one (sched(7), "The autogroup feature"). So
    a leader of a session gives the session the number too; where it cannot, the process has its own.
    """
    if hasattr(os, "nice"):
        os.nice(niceness)
    if sys.platform == "linux" and os.getsid(0) == os.getpid():
        for _ in range(_TRIES):
            try:
                Path("/proc/self/autogroup").write_text(str(niceness))
            except BlockingIOError:  # the kernel takes one such wish in a tenth of a second
                time.sleep(0.11)
            except OSError:  # a kernel without them
                return
            else:
                return


def _wake_when_orphaned() -> None:
    """Linux: a process that is stopped by a signal goes on when its supervisor dies, sees the end of the pipe, and
    ends."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGCONT), 0, 0, 0)
