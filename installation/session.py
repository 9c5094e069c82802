"""What the supervisor tells the wall and the engine about one run: a JSON file in the run folder.

The show as it was checked once, the networks as they were found once, and the choices made on the command line, so
that a process started again months later finds what the first one had.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict

from installation.errors import OutputError
from installation.show.config import Show

SESSION = "session.json"
CUE = "cue"  # beside it: the moment of the last cue
SHADERS = "shaders"  # beside it: those of the wall that worked last


def _path(value: Any) -> Any:
    # pydantic itself takes no text that is not UTF-8, and the names of old disks are not.
    return Path(value) if isinstance(value, str) else value


AnyPath = Annotated[Path, BeforeValidator(_path)]


class Described(BaseModel):
    """What is written down for other processes. Paths in it may be any that the system has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> str:
        return json.dumps(self.model_dump(), indent=1, default=os.fspath)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote; ValueError for anything else."""
        return cls.model_validate(json.loads(text))


class Session(Described):
    """size: of the pictures (width, height). base, stages: the cascade's checkpoint files. models: those of the show's
    other models, by name, generator first. still: a picture for the first seconds, or none. pictures, films: where
    snapshots and recordings of the wall go. headless: no window. identity, state_folder: where the store keeps the last
    picture and state of this show. verbose: log more. take: a take's folder, to be written, or with replay to be played;
    None = neither. refused: models that the take's evening could not show, each with the show time at which it was chosen.
    """

    identity: str
    state_folder: AnyPath
    show: Show
    size: tuple[int, int]
    base: AnyPath
    stages: tuple[AnyPath, ...]
    models: dict[str, tuple[AnyPath, ...]] = {}
    still: AnyPath | None
    pictures: AnyPath
    films: AnyPath
    headless: bool
    verbose: bool = False
    take: AnyPath | None = None
    replay: bool = False
    refused: tuple[tuple[str, float], ...] = ()

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """The checkpoints of every model of the show, its first one first."""
        return {self.show.cascade.name: (self.base, *self.stages), **self.models}

    def write(self, run_folder: Path) -> None:
        """OutputError when the disk refuses."""
        try:
            (run_folder / SESSION).write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            fix = "Free some memory or disk space there"
            raise OutputError(f"cannot be written ({error.strerror})", where=str(run_folder), fix=fix) from error

    @classmethod
    def read(cls, run_folder: Path) -> Session:
        """OutputError when it is missing or damaged."""
        path = run_folder / SESSION
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            fix = "Start the show again with `installation run`"
            raise OutputError("the run's description is missing or damaged", where=str(path), fix=fix) from error
