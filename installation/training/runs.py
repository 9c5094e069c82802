"""The writer of training runs (run_info.py reads them). Every run is a folder; the folders are the truth, no index is kept beside them.

    NAME/run.json         what was decided: resolved config, code, dataset, parents (written once, atomically)
    NAME/metrics.jsonl    what was measured: one JSON object a line, each with `nimg` and `time`
    NAME/pictures/        samples by name and nimg
    NAME/G_ema.safetensors, state.safetensors   the network as a show loads it, and all that training goes on from
    NAME/*.judgement.json what `judge` said of its checkpoints, those in folders below included

A folder is written by one process at a time (a lock made by the operating system); any number may read it meanwhile. A line that was
cut short by a kill or a full disk is passed over, and a run that went back to an older state outgrows its later lines.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from filelock import FileLock, Timeout

from installation import locks
from installation.errors import DISK_FIX, ConfigError, OutputError
from installation.training.records import MADE, code_version, machine, now, write_json, write_png

log = logging.getLogger(__name__)

Kind = Literal["base", "stage"]

FORMAT = 1
RUN_FILE, METRICS_FILE, LOCK_FILE, PICTURES = "run.json", "metrics.jsonl", ".run.lock", "pictures"
EXPORT_NAME, STATE_NAME = "G_ema.safetensors", "state.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Longer than a reader holds the lock to see whether somebody else does.
_LOCK_S = 2.0


class Writer(Protocol):
    """The part of TensorBoard's SummaryWriter that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object: ...
    def flush(self) -> object: ...
    def close(self) -> object: ...


class Run:
    """One run, open for writing in this process until `close`; also a context manager. See `begin`."""

    def __init__(self, folder: Path, lock: FileLock, board: Writer | None, *, begun: bool = False) -> None:
        self.folder = folder
        self._lock = lock
        self._board = board
        self._begun = begun  # by this very object

    @classmethod
    def begin(
        cls,
        root: Path,
        kind: Kind,
        name: str,
        config: Mapping[str, Any],
        *,
        dataset_sha256: str,
        manifest_sha256: str = "",
        inherited_licence: str = "",
        parents: Mapping[str, str] | None,
        device: str = "cpu",
        tensorboard: bool = True,
    ) -> Self:
        """Makes the folder root/name, or goes on in it when it holds the same run.

        config: JSON; everything that defines the run, its seed included, and not how long it is to last. parents: the networks it began
        from, by role ("warm_start", "previous"), as sha256 of their files; None for those it has. manifest_sha256: of what the
        dataset says of its pictures, kept for the record: one with another licence may go on. inherited_licence: of the network it
        began from; what comes of it owes that too. device: the first it is trained on, by name. tensorboard: also write event files, where
        it is installed.

        ConfigError on a name no file system likes, on a config that is not JSON, and where the folder holds a run that differs (every
        difference is named); OutputError where another process writes the run, where run.json is damaged, and where the disk refuses.
        """
        if not _NAME.fullmatch(name) or name.endswith("."):
            raise ConfigError(
                f"{name[:80]!r} cannot be a run's name", fix="Use letters, digits, '.', '_' and '-', at most 64"
            )
        folder = Path(root) / name
        facts: dict[str, Any] = {
            "kind": kind,
            "config": _plain(config, folder),
            "dataset_sha256": dataset_sha256,
        }
        if parents is not None:
            facts["parents"] = dict(parents)
        try:
            (folder / PICTURES).mkdir(parents=True, exist_ok=True)
            (folder / MADE).touch()
            lock = locks.take(folder / LOCK_FILE, wait_s=_LOCK_S)
        except Timeout:
            raise OutputError(
                "another process is writing this run", where=str(folder), fix="End it, or give this run another name"
            ) from None
        except OSError as error:
            fix = (
                "Name a folder, new or of a run"
                if isinstance(error, (FileExistsError, NotADirectoryError))
                else DISK_FIX
            )
            raise OutputError(f"the run's folder cannot be written ({error})", where=str(folder), fix=fix) from error
        try:
            begun = not (folder / RUN_FILE).exists()
            if not begun:
                _check_same(folder, facts)
                _mend(folder / METRICS_FILE)
            else:
                facts.setdefault("parents", {})
                facts |= {"manifest_sha256": manifest_sha256, "inherited_licence": inherited_licence}
                made = {"format": FORMAT, "name": name, **facts, "code": code_version(), "machine": machine(device)}
                write_json(folder / RUN_FILE, {**made, "started": now()})
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, _tensorboard(folder) if tensorboard else None, begun=begun)

    @property
    def inherited_licence(self) -> str:
        """As it was when the run began."""
        return str(run_json(self.folder).get("inherited_licence", ""))

    def log(self, nimg: int, **numbers: float) -> None:
        """Appends one line of numbers, at once and whole. NaN and infinity are kept as null. OutputError where the disk refuses."""
        row = {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}
        line = json.dumps({"nimg": int(nimg), "time": round(time.time(), 3), **row}, allow_nan=False) + "\n"
        path = self.folder / METRICS_FILE
        try:
            # One write of one line to the end of the file: a reader sees the line or nothing of it, but for a full disk.
            with path.open("ab", buffering=0) as file:
                file.write(line.encode())
        except OSError as error:
            raise OutputError(
                f"the numbers could not be written ({error.strerror or error})", where=str(path), fix=DISK_FIX
            ) from error
        if self._board is not None:
            try:
                for name, value in row.items():
                    if value is not None:
                        self._board.add_scalar(name.replace("__", "/"), value, int(nimg))
                self._board.flush()
            except Exception as error:
                self._give_up_board(error)

    def picture(self, name: str, frame: np.ndarray, nimg: int) -> Path:
        """Writes frame, uint8 [H, W, 3] or [H, W, 4] (alpha is dropped), as pictures/NAME-NIMG.png. OutputError where the disk refuses."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4):
            raise ValueError(f"a uint8 picture [H, W, 3] expected, not {frame.dtype} {list(frame.shape)}")
        path = self.folder / PICTURES / f"{name}-{int(nimg):010d}.png"
        return write_png(path, frame[:, :, :3])

    def close(self) -> None:
        """Lets go of the folder. Nothing is lost without it: the lock ends with the process."""
        try:
            if self._board is not None:
                self._board.close()
        except Exception as error:
            self._give_up_board(error)
        finally:
            self._lock.release()

    def _give_up_board(self, error: Exception) -> None:
        """A guest that stumbles ends no training: every number is in metrics.jsonl. Its own thread hands on whatever it met."""
        self._board = None
        log.warning("TensorBoard's events are written no further (%s); the numbers go on in %s", error, METRICS_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # A beginning that failed before anything was kept binds nobody: the next may have another config.
        if (
            kind is not None
            and self._begun
            and not any((self.folder / name).exists() for name in (STATE_NAME, METRICS_FILE))
        ):
            with suppress(OSError):  # read by somebody just now, on Windows
                (self.folder / RUN_FILE).unlink(missing_ok=True)
        self.close()


def _plain(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """config as it will be read back (tuples become lists), so that a reopened run compares equal."""
    try:
        return json.loads(json.dumps(dict(config), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the run's config is not JSON ({error})", where=str(folder)) from error


def run_json(folder: Path) -> dict[str, Any]:
    """What was decided of the run in a folder: kind, config, dataset_sha256, parents, and more. OutputError where it is none or damaged."""
    path = folder / RUN_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            "is no run: it has no run.json (`installation runs list` names runs)", where=str(path)
        ) from None
    except (ValueError, RecursionError):
        raise OutputError("run.json is damaged: it is not JSON", where=str(path)) from None
    shapes = {"kind": str, "config": dict, "dataset_sha256": str, "parents": dict}
    if not isinstance(data, dict) or not all(isinstance(data.get(key), shape) for key, shape in shapes.items()):
        raise OutputError("run.json is damaged: " + ", ".join(shapes) + " expected", where=str(path))
    if data.get("format") != FORMAT:
        raise OutputError(f"run.json has format {data.get('format')}, this program reads {FORMAT}", where=str(path))
    return data


def _check_same(folder: Path, facts: Mapping[str, Any]) -> None:
    """ConfigError naming every difference between the run in the folder and what is asked for."""
    try:
        there = run_json(folder)
    except OSError as error:
        raise OutputError(f"cannot be read ({error.strerror or error})", where=str(folder / RUN_FILE)) from error
    apart = ("config", "parents")
    old = {**there["config"], **there["parents"], **{key: there[key] for key in facts if key not in apart}}
    asked = facts.get("parents", there["parents"])
    new = {**facts["config"], **asked, **{key: facts[key] for key in facts if key not in apart}}
    missing = "nothing"
    faults = [
        f"{key} is another network now"
        if key in old and key in asked
        else f"{key} is {old.get(key, missing)!s:.60}, not {new.get(key, missing)!s:.60}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, missing) != new.get(key, missing)
    ]
    if faults:
        what = "the folder holds another run: " + "; ".join(faults[:8])
        raise ConfigError(what, where=str(folder), fix="Give the new run another name, or the old one's config")


def _mend(path: Path) -> None:
    """End a line that a kill or a full disk cut short, so that the next one does not grow onto it."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _tensorboard(folder: Path) -> Writer | None:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
