"""Recording: everything that a film is made from, in one JSON file beside its segments.

`record --resume`, the shards of a farm and `shard run` read it, so that all of them make the same pictures.
"""

from __future__ import annotations

import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, PositiveInt

from installation.errors import ConfigError, OutputError
from installation.files import write_whole
from installation.output.placement import shown_size
from installation.output.video.presets import preset
from installation.output.video.spec import VideoSpec
from installation.session import AnyPath, Described, Session
from installation.show.film import Film

FILE = "recording.json"
MOST_FRAMES = 100_000_000
_SHOWN_CHANGES = 6


class Recording(Described):
    """session: the show with the stages that this size needs. size: of the film, px. fps: exact, as "30000/1001". frames, start_s,
    leader_frames: see Film. threads: of the encoder, 0 = its own choice. placement: the kind of device that draws it
    and its numbers, as "cuda float16"; "" in files of before. hashes: sha256 of every network and shader. out:
    the finished file. shards: in how many parts it is made. take: the folder of the performance that is filmed, None =
    the show as nobody touches it; take_sha256: of its log; shown: the models that were on the wall.
    """

    session: Session
    size: tuple[PositiveInt, PositiveInt]
    fps: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,8}$")]
    frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)]
    start_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    leader_frames: Annotated[int, Field(ge=0, le=MOST_FRAMES)]
    preset: str
    segment_frames: PositiveInt
    threads: NonNegativeInt = 0
    placement: str = ""
    hashes: dict[str, str]
    out: AnyPath
    shards: PositiveInt = 1
    take: AnyPath | None = None
    take_sha256: str = ""
    shown: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its segments lie until they are joined."""
        return self.out.with_name(self.out.name + ".segments")

    @property
    def film(self) -> Film:
        return Film(Fraction(self.fps), self.frames, self.start_s, self.leader_frames)

    @property
    def spec(self) -> VideoSpec:
        return VideoSpec.of(
            self.size,
            Fraction(self.fps),
            preset(self.preset),
            segment_frames=self.segment_frames,
            threads=self.threads,
        )

    @property
    def picture(self) -> tuple[int, int]:
        """(width, height) at which the cascade's picture appears in the film."""
        screen = self.session.show.screen
        return shown_size(self.session.size, self.size, fit=screen.fit, rotate=screen.rotate)

    @property
    def segments(self) -> int:
        return math.ceil(self.film.total / self.segment_frames)

    def frames_of(self, segment: int) -> int:
        return min(self.segment_frames, self.film.total - segment * self.segment_frames)

    def shard(self, number: int) -> range:
        """The segments of one shard. ConfigError where there is no such shard."""
        if not 0 <= number < self.shards:
            raise ConfigError(f"no shard {number}; there are 0 to {self.shards - 1}", where=str(self.folder))
        return range(number * self.segments // self.shards, (number + 1) * self.segments // self.shards)

    def facts(self) -> dict[str, Any]:
        """All that decides the film's frames, by name; no paths. An encoder's threads do: x264 divides its work by them."""
        show = self.session.show.model_dump(mode="json", include={"walk", "params", "looks", "axes", "classes"})
        cascade, screen = self.session.show.cascade, self.session.show.screen
        facts: dict[str, Any] = {f"params.{name.replace('/', '.')}": value for name, value in show["params"].items()}
        facts |= {f"walk.{name}": value for name, value in show["walk"].items()}
        facts |= {f"looks.{name}.{key}": value for name, look in show["looks"].items() for key, value in look.items()}
        facts |= {f"classes.{name}": number for name, number in show["classes"].items()}
        facts |= {f"cascade.{name}": getattr(cascade, name) for name in ("tile", "dtype", "device", "threads")}
        facts |= {f"models.{model.name}.tile": model.tile for model in self.session.show.models}
        # In order: the first is what the film begins with, and whose aspect it has.
        facts["models"] = self.session.show.model_names()
        facts |= {f"networks.{name}": [path.name for path in files] for name, files in self.session.files.items()}
        facts |= {f"axes.{axis['name']}.{key}": value for axis in show["axes"] for key, value in axis.items()}
        facts |= {"screen.fit": screen.fit, "screen.rotate": screen.rotate}
        own = self.model_dump(mode="json", exclude={"session", "hashes", "out", "shards", "take"})
        return facts | own | {f"sha256 of {name}": value for name, value in self.hashes.items()}

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()

    def check_unchanged(self, begun: Recording) -> None:
        """ConfigError where this is not the recording that was begun; it says what changed."""
        here, there = self.facts(), begun.facts()
        changed = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
        if changed:
            lines = [f"  {name}: {_short(there.get(name))} was, {_short(here.get(name))} is" for name in changed]
            more = [f"  and {len(lines) - _SHOWN_CHANGES} more"] if len(lines) > _SHOWN_CHANGES else []
            raise ConfigError(
                "this is not the recording that was begun\n" + "\n".join(lines[:_SHOWN_CHANGES] + more),
                where=str(self.folder),
                fix="Set it back to go on, or record to another --out. Nothing was touched",
            )

    def write(self, path: Path | None = None) -> None:
        """Into `path`, or its folder. OutputError when the disk refuses."""
        path = path or self.folder / FILE
        try:
            # Flushed to the disk: the segments outlive a power cut, and are of no use without this.
            write_whole(path, self.to_json().encode())
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", where=str(path)) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """OutputError when it is missing or damaged."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            raise OutputError(f"no description of a recording: {reason}", where=str(path)) from error


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
