"""The supervisor: starts the wall and the engine, and starts again what died or hangs, for as long as the show lasts.

A process of its own without torch and GL; everything here runs on its main thread, except the store's writes. It
decides by exit codes and by heartbeats on the board, on the monotonic clock alone. It draws nothing and knows nothing
of the show.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from installation.counted_log import CountedLog
from installation.engine.board import Board, Phase, Pulse
from installation.errors import OutputError
from installation.service.keeper import Keeper
from installation.service.notify import Notify
from installation.service.policy import Policy
from installation.service.processes import FAULT, Child
from installation.service.runfolder import RunFolder
from installation.service.store import Store

ROLE = "supervisor"
WALL, ENGINE = "wall", "engine"
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
_NOTIFY_S = 1.0
_FOLDER_S = 1.0
_OVERSLEPT_S = 1.0


@dataclass(slots=True)
class _Watched:
    """One process and what is known of it. Times on the monotonic clock."""

    child: Child
    pulse: Pulse = field(default_factory=Pulse)
    seen_s: float = 0.0  # when its pulse last changed
    running_s: float = 0.0  # since when it has been in phase RUNNING without a fault, 0 = not
    due_s: float = 0.0  # when to start it
    faults: int = 0  # in a row
    same: tuple[int, int] = (0, 0)  # (exit code, how many of it in a row)
    hung: str = ""  # how, when it was killed for it
    ever_ran: bool = False

    @property
    def role(self) -> str:
        return self.child.role


class Supervisor:
    """run_folder, board: from `runfolder.prepare`; both are the supervisor's to remove. commands: role -> argument
    vector, for "wall" and "engine", in the order in which they start.

    store: where the last picture and state are kept; notify: the service manager's socket; None = not wanted.
    """

    def __init__(
        self,
        run_folder: RunFolder,
        board: Board,
        commands: Mapping[str, Sequence[str]],
        policy: Policy | None = None,
        *,
        store: Store | None = None,
        notify: Notify | None = None,
    ) -> None:
        self.board = board
        self._folder, self._policy = run_folder, policy or Policy()
        self._watched = [_Watched(Child(role, command)) for role, command in commands.items()]
        self._log = CountedLog("installation")
        self._keeper = Keeper(store, self._policy)
        self._notify = notify or Notify(None)
        self._presented, self._notify_s, self._status = 0, 0.0, ""
        self._folder_s = 0.0
        self._requests = 0
        self._interrupts = 0
        self._verdict: int | None = None

    def run(self) -> int:
        """Runs the show to its end; nothing is left behind. Exit code: 0 stopped by a signal, by `stop`, or by the wall
        itself (window closed); 2, 3, 4, 5 or 6 when a process ended with it before its first picture (errors.py)."""
        with self._signals():
            try:
                self._folder.remember()
                last_s = time.monotonic()
                while self._verdict is None and not self._requests:
                    now = time.monotonic()
                    # A machine that slept, or a supervisor that did, is not the children's fault.
                    self._turn(now, overslept=now - last_s > self._policy.poll_s + _OVERSLEPT_S)
                    last_s = now
                    time.sleep(self._policy.poll_s)
            finally:
                self._end()
        return self._verdict or 0

    def stop(self) -> None:
        """Asks for a clean end. Safe in a signal handler and from other threads."""
        self._requests += 1

    def _turn(self, now: float, *, overslept: bool) -> None:
        self.board.beat(ROLE, Phase.RUNNING)
        self._mend_folder(now)
        for watched in self._watched:
            if self._verdict is not None:
                return
            if not watched.child.running:
                if now >= watched.due_s:
                    self._start(watched, now)
            elif (code := watched.child.ended()) is not None:
                self._after(watched, code, now)
            else:
                self._listen(watched, now, overslept)
        self._keeper.turn(self.board, now)
        self._tell(now)
        self._log.flush()

    def _start(self, watched: _Watched, now: float) -> None:
        self.board.clear_pulse(watched.role)
        if self._reported(watched):
            self.board.put_status(watched.role, "")
        watched.pulse, watched.seen_s, watched.running_s, watched.hung = Pulse(), now, 0.0, ""
        try:
            watched.child.start()
        except OSError as error:
            self._log.say(f"{watched.role} start", f"{watched.role} cannot be started: {error}")
            if isinstance(error, FileNotFoundError | PermissionError) and not watched.faults:
                self._verdict = OutputError.exit_code
                return
            self._put_off(watched, now)

    def _listen(self, watched: _Watched, now: float, overslept: bool) -> None:
        """One look at a living process: kills it when it hangs."""
        pulse = self.board.pulse(watched.role)
        if pulse != watched.pulse or overslept:
            watched.pulse, watched.seen_s = pulse, now
        if now - watched.seen_s > self._policy.patience(pulse):
            again = bool(watched.hung)
            watched.hung = watched.hung or f"hung for {now - watched.seen_s:.1f} s ({pulse.phase.name.lower()})"
            watched.seen_s = now
            # On a busy machine an end takes more than the second that `kill` waits for it.
            if not watched.child.kill() and again:
                self._log.say(
                    f"{watched.role} stuck",
                    f"{watched.role} {watched.hung}, was killed and is still there: a driver may hold it",
                )
            return
        if pulse.phase is Phase.RUNNING:
            watched.ever_ran = True
            watched.running_s = watched.running_s or now
            if watched.faults and now - watched.running_s > self._policy.healthy_s:
                watched.faults, watched.same = 0, (0, 0)

    def _after(self, watched: _Watched, code: int, now: float) -> None:
        """What a process's end means: the end of the show, or its restart."""
        if watched.role == WALL and code == 0:
            self._verdict = 0
            return
        watched.same = (code, watched.same[1] + 1 if watched.same[0] == code else 1)
        what = f"{watched.role} {watched.hung or 'ended'}: {_reason(code)}"
        if not self._ran(watched) and watched.same[1] >= self._policy.fatal.get(code, 1 << 30):
            self._log.say(watched.role, f"{what}, before the first picture. The show stops")
            self._verdict = code
            return
        self._fault(watched, what, now)

    def _reported(self, watched: _Watched) -> str:
        """Why its process ended, by its own word; "" where it said nothing."""
        said = self.board.status(watched.role)
        return said.removeprefix(FAULT) if said.startswith(FAULT) else ""

    def _ran(self, watched: _Watched) -> bool:
        """Whether this role ever got as far as a picture. Asks the board too: it may have begun and died within one turn."""
        made_one = watched.role == ENGINE and self.board.newest() > 0
        return watched.ever_ran or made_one or self.board.pulse(watched.role).phase is Phase.RUNNING

    def _fault(self, watched: _Watched, what: str, now: float) -> None:
        wait_s = self._put_off(watched, now)
        why = self._reported(watched)
        self._log.say(watched.role, what + (f" ({why})" if why else "") + f". Starting it again in {wait_s:g} s")
        self.board.put_status(ROLE, f"{what} (fault {watched.faults} in a row)")

    def _put_off(self, watched: _Watched, now: float) -> float:
        watched.faults += 1
        wait_s = self._policy.backoff(watched.faults)
        watched.due_s = now + wait_s
        return wait_s

    def _mend_folder(self, now: float) -> None:
        """What was removed from the run folder is put back. A board whose file is gone still serves who has it open, but no
        restarted process can find it: makes a new one and starts both processes on it."""
        if now - self._folder_s < _FOLDER_S:
            return
        self._folder_s = now
        if self._folder.intact():
            return
        old = self.board
        try:
            self._folder.restore()
            if self._folder.board_path.exists():
                return
            new = Board.create(self._folder.board_path, width=old.width, height=old.height, slots=old.slots)
        except (OSError, OutputError) as error:
            self._log.say("folder", f"the run folder is gone and cannot be made again: {error}")
            return
        self._log.say("folder", f"somebody removed {self._folder.path}: wall and engine start on a new one")
        state = old.read_state()
        if state:
            new.write_state(*state)
        self.board = new
        old.close()
        for watched in self._watched:
            watched.child.kill()
            watched.child.ended()
            watched.due_s = now

    def _tell(self, now: float) -> None:
        """Feeds the service manager: its watchdog gets a sign only when the wall's loop has turned since the last one, so a
        wall that hangs starves it."""
        if now - self._notify_s < _NOTIFY_S:
            return
        self._notify_s = now
        lines = []
        for watched in self._watched:
            if watched.role == WALL and watched.pulse.phase is Phase.RUNNING and watched.pulse.count != self._presented:
                if not self._presented:
                    lines.append("READY=1")
                self._presented = watched.pulse.count
                lines.append("WATCHDOG=1")
        status = " · ".join(
            f"{watched.role} {watched.pulse.phase.name.lower() if watched.child.running else 'restarting'}"
            for watched in self._watched
        )
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if lines:
            self._notify.send(*lines)

    def _end(self) -> None:
        """Asks, waits, kills; keeps the last picture; removes the run folder."""
        self._notify.send("STOPPING=1")
        for watched in self._watched:
            watched.child.ask_to_stop()
        deadline = time.monotonic() + self._policy.stop_s
        while any(watched.child.ended() is None and watched.child.running for watched in self._watched):
            if time.monotonic() > deadline or self._interrupts > 1:
                break
            time.sleep(0.01)
        for watched in self._watched:
            watched.child.kill()
            watched.child.ended()
        self._keeper.finish(self.board)
        self._notify.close()
        self.board.close()
        self._folder.remove()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Turns the signals that mean "stop" into `stop`; a second Ctrl-C kills at once. SIGHUP stays ignored under
        nohup. Only the main thread may set handlers: elsewhere nothing is done."""
        old = {}
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    old[number] = signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # A plain counter: an Event may not be set by a handler that interrupts its own thread's wait.
        self._interrupts += number == signal.SIGINT
        self.stop()


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
