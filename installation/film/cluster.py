"""A farm on a Ray cluster: shards go to the workers that are there, and to others when one dies with its process or its machine.

A worker is a Ray actor that keeps the network warm. One that the cluster has no room for gets no shard until it has. Runs in the process
of the command line.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import Any

from installation.errors import InstallationError, OutputError, install_extra
from installation.film.farm import MOST_TRIES, Closed, Progress
from installation.film.recording import Recording

READY_S = 60.0
"""So long may a farm be without a worker."""
GATHER_S = 15.0
"""After so long without one of its workers it is said how many are there."""
LET_GO_S = 180.0
"""So long a shard may be held by a worker that was given up: a file server keeps the locks of a machine that died for a minute or two, and
one that is cut off works on until it notices."""
_LOOK_S = 2.0
_REACH_S = 5.0


def run_ray(
    recording: Recording,
    shards: Sequence[int],
    *,
    wanted: Collection[int],
    workers: int,
    progress: Progress,
    say: Callable[[str], None],
    address: str = "",
) -> None:
    """Makes the shards on the Ray cluster this machine belongs to, or on a Ray of its own. The film's folder must be one that all of
    the cluster's machines see under the same path. wanted: see `farm.run_local`. workers: at most; the film is made by as many as
    the cluster has room for. progress(frames, bytes): of closed segments. address: the cluster's, as RAY_ADDRESS has
    it, which Ray reads itself. A worker that hangs is Ray's to notice.

    OutputError: no extra `farm`, no cluster at the address, no room for a single worker, or a shard of which every worker
    dies. What a worker itself refuses comes out as its own error."""
    try:
        # By name: the type checker runs where the extra is not installed, too.
        ray: Any = import_module("ray")
        import_module("ray.exceptions")
    except ImportError:
        fix = f"Install the extra: {install_extra('farm')}"
        raise OutputError("Ray is not installed", where="--executor ray", fix=fix) from None
    if begun := not ray.is_initialized():
        _look_for(address)
        ours = signal.getsignal(signal.SIGTERM)
        ray.init(log_to_driver=False, include_dashboard=False)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)  # Ray's own ends the process where it stands
    closed = Closed(recording, wanted)
    farm = _Farm(ray, recording, shards, min(workers, len(shards)), say)
    try:
        while farm.turn():
            progress(*closed.of(shards))
    finally:
        farm.end()
        if begun:
            ray.shutdown()


def _look_for(address: str) -> None:
    """OutputError if nobody listens there; Ray itself asks for many minutes. Addresses without a port are Ray's to find."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()
    except OSError as error:
        what = f"no Ray cluster answers ({error.strerror or error})"
        raise OutputError(what, where=address, fix="Begin one with `ray start`, or mend RAY_ADDRESS") from error


class _Farm:
    def __init__(
        self, ray: Any, recording: Recording, shards: Sequence[int], workers: int, say: Callable[[str], None]
    ) -> None:
        self._ray, self._workers, self._say = ray, workers, say
        self._plan = recording.to_json()
        gpus = ray.cluster_resources().get("GPU", 0) > 0
        self._worker = _worker(ray).options(num_gpus=1 if gpus else 0, num_cpus=1)
        self._todo = deque(shards)
        self._tries = dict.fromkeys(shards, 0)
        # Each worker has one call that is not answered: with its shard, or, while it may still wait for room, with None.
        self._calls: dict[Any, tuple[Any, int | None]] = {}
        self._gathered = self._worked = time.monotonic()
        self._said = False
        self._death = ""

    def turn(self) -> bool:
        """Waits for what becomes of a worker, but not for long. False: every shard is made."""
        waiting = self._fit()
        if not self._calls:
            return False
        now = time.monotonic()
        working = len(self._calls) - waiting
        if working:
            self._worked = now
        elif now - self._worked > READY_S:
            raise OutputError(
                f"no worker is ready after {READY_S:g} s; {self._room()}{self._death}",
                where="ray",
                fix="A worker takes a CPU, and a GPU where the cluster has any: make room, then go on with --resume",
            )
        if not waiting:
            self._gathered = now
        elif not self._said and now - self._gathered > GATHER_S:
            self._said = True
            self._say(f"{working} of {working + waiting} workers are at work, the others are not ready; {self._room()}")
        answered, _ = self._ray.wait(list(self._calls), timeout=_LOOK_S)
        for call in answered:
            self._answer(call)
        return True

    def end(self) -> None:
        for actor, _ in self._calls.values():
            self._ray.kill(actor)

    def _fit(self) -> int:
        """As many workers as there are shards for. Gives how many are not ready."""
        waiting = [call for call, (_, shard) in self._calls.items() if shard is None]
        while len(waiting) > len(self._todo):
            actor, _ = self._calls.pop(waiting.pop())
            self._ray.kill(actor)
        while len(waiting) < len(self._todo) and len(self._calls) < self._workers:
            actor = self._worker.remote(self._plan)
            call = actor.ready.remote()
            self._calls[call] = actor, None
            waiting.append(call)
        return len(waiting)

    def _answer(self, call: Any) -> None:
        actor, shard = self._calls.pop(call)
        try:
            self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            self._ray.kill(actor)
            cause = error.cause
            if isinstance(cause, InstallationError):
                raise cause from error
            what = f"a worker fails ({type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]:.200})"
            raise OutputError(
                what, where="ray", fix="Install this very program on every machine of the cluster"
            ) from error
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor)  # it may be out of reach only, and come back
            self._lost(shard, str(error).partition("\n")[0])
            return
        if self._todo:
            shard = self._todo.popleft()
            self._tries[shard] += 1
            self._calls[actor.make.remote(shard)] = actor, shard
        else:
            self._ray.kill(actor)  # its room is for others

    def _lost(self, shard: int | None, death: str) -> None:
        """A worker is gone; its shard, if it had one, is for another."""
        self._death = f"; the last one: {death}"
        if shard is None:
            return
        if self._tries[shard] >= MOST_TRIES:
            raise OutputError(
                f"{MOST_TRIES} workers died of shard {shard}, the last: {death}", where="ray", fix="Go on with --resume"
            )
        self._todo.appendleft(shard)

    def _room(self) -> str:
        there, free = self._ray.cluster_resources(), self._ray.available_resources()
        kinds = (f"{there.get(kind, 0):g} {kind} ({free.get(kind, 0):g} free)" for kind in ("CPU", "GPU"))
        return f"the cluster has {', '.join(kinds)}"


def _worker(ray: Any) -> Any:
    """The actor's class. Inside a function it travels whole: the program that is not installed on a machine is missed by `make`,
    whose errors come back as they were. So the networks are opened there, too."""

    @ray.remote
    class Worker:
        def __init__(self, plan: str) -> None:
            self._plan = plan
            self._made: Any = None

        def ready(self) -> None:
            pass

        def make(self, shard: int) -> None:
            from installation.film import making
            from installation.film.recording import Recording
            from installation.output.video.claims import Held

            if self._made is None:
                recording = Recording.from_json(self._plan)
                self._made = recording, making.open_renderer(recording)
            recording, renderer = self._made
            until = time.monotonic() + LET_GO_S
            while True:
                try:
                    return making.make_shard(recording, shard, renderer)
                except Held:
                    if time.monotonic() > until:
                        raise
                time.sleep(1.0)

    return Worker
