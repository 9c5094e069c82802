"""What the judge said of one checkpoint: numbers with errors, one score Q, and the kit they hang on. Standard library; no torch.

Two judgements are compared on random halves: each was also measured on the same 32 halves of the kit's seeds and pictures, so what
the choice of pictures does to both at once cancels in their difference. The scatter over random halves (drawn without replacement)
is the standard error of the whole set's value (Politis and Romano, "Large sample confidence regions based on subsamples", 1994).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from installation.errors import ConfigError, OutputError
from installation.training.records import read_json, write_json

FORMAT = 1
SUFFIX = ".judgement.json"
# A difference within so many standard errors is none.
SIGMAS = 2.0

Better = Literal["high", "low", "one", ""]


@dataclass(frozen=True, slots=True)
class Column:
    """What a number means. better: which way is good ("one": near 1); "" where there is no good way."""

    title: str
    better: Better
    text: str


COLUMNS: dict[str, Column] = {
    "q": Column("Q", "high", "the score: 100 as near as other real pictures are, 0 as far as the planted bad set"),
    "kd": Column("KD", "low", "kernel distance on EfficientNet-Lite0 features, x 1000; about 0 for real pictures"),
    "sw": Column("SW2", "low", "sliced Wasserstein-2 distance, squared"),
    "lb": Column("LB-FD", "low", "Fréchet distance of Laplacian-band features; no trained weights"),
    "density": Column("density", "one", "how densely real neighbourhoods are met; above 1: only the commonest faces"),
    "coverage": Column("coverage", "high", "share of real pictures with a made one among their five neighbours' reach"),
    "memorisation": Column("memory", "high", "distance to training pictures ÷ to unseen ones; 1 as fresh, 0 copied"),
    "walk_cv": Column("walk CV", "low", "unevenness of the walk's speed, standard deviation ÷ mean"),
    "lowres_psnr": Column("low-res PSNR", "high", "dB, the result made small again against what went in"),
    "paired_psnr": Column("PSNR", "high", "dB, against the real large picture"),
    "hf_distance": Column("HF spectrum", "low", "dB, rms gap between the spectra above the input's Nyquist frequency"),
    "steadiness": Column("flicker", "low", "jerk of the added detail on a walk ÷ that of the base's own finest octave"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A measured value and its standard error. halves: the same measured on each random half, for paired comparison."""

    value: float
    se: float
    halves: tuple[float, ...] = ()

    @classmethod
    def of(cls, value: float, halves: tuple[float, ...]) -> Number:
        """With the standard deviation of the halves as its error, 0 where there are fewer than two."""
        return cls(value, statistics.stdev(halves) if len(halves) > 1 else 0.0, halves)


@dataclass(frozen=True, slots=True)
class Judgement:
    """kit: the kit's hash. kind: base or stage. subject: the checkpoint's name; sha256: of its file; nimg: images it has seen.

    settings: what else changes the numbers (psi, the base a stage was walked on); must agree to be compared. numbers: by name, see
    COLUMNS. made: the moment, UTC. warnings: for people.
    """

    kit: str
    kind: str
    subject: str
    sha256: str
    nimg: int | None
    settings: Mapping[str, Any]
    numbers: Mapping[str, Number]
    made: str
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def q(self) -> Number:
        """The score: 100 as near as other real pictures, 0 as far as the planted bad set."""
        return self.numbers["q"]

    def headline(self) -> str:
        """`Q 61.3 ± 1.2`. What is worse than the planted bad set is below 0."""
        return f"Q {self.q.value:.1f} ± {self.q.se:.1f}"

    def at(self) -> str:
        """`48 kimg`: what the checkpoint had seen when it was judged. "" where its header does not say."""
        return "" if self.nimg is None else f"{self.nimg / 1000:.5g} kimg"

    def write(self, path: Path) -> Path:
        """As JSON, atomically. OutputError where the disk refuses."""
        numbers = {
            name: {"value": one.value, "se": one.se, "halves": list(one.halves)} for name, one in self.numbers.items()
        }
        data = {
            "format": FORMAT,
            "kit": self.kit,
            "kind": self.kind,
            "subject": self.subject,
            "sha256": self.sha256,
            "nimg": self.nimg,
            "settings": dict(self.settings),
            "numbers": numbers,
            "made": self.made,
            "warnings": list(self.warnings),
            "facts": dict(self.facts),
        }
        write_json(path, data)
        return path


@dataclass(frozen=True, slots=True)
class Verdict:
    """Two judgements side by side in one number: delta is b - a, with its standard error. text: for people."""

    name: str
    a: Number
    b: Number
    delta: float
    se: float
    text: str


def beside(checkpoint: Path, kit: str, psi: float = 1.0) -> Path:
    """Where the judgement of a checkpoint by a kit lies; those of truncated pictures lie apart."""
    truncated = "" if psi == 1 else f".psi{psi:g}"
    return checkpoint.with_name(f"{checkpoint.stem}.{kit[:8]}{truncated}{SUFFIX}")


def read_judgement(path: Path) -> Judgement:
    """The judgement in a file. OutputError where it is damaged."""
    data = read_json(path)
    try:
        if data["format"] != FORMAT:
            raise OutputError(f"has format {data['format']}, this program reads {FORMAT}", where=str(path))
        numbers = {
            str(name): Number(float(row["value"]), float(row["se"]), tuple(float(x) for x in row["halves"]))
            for name, row in data["numbers"].items()
        }
        if not all(math.isfinite(each) for one in numbers.values() for each in (one.value, one.se, *one.halves)):
            raise ValueError("a value is no number")
        if "q" not in numbers:
            raise OutputError("the judgement is damaged: no score", where=str(path))
        return Judgement(
            kit=str(data["kit"]),
            kind=str(data["kind"]),
            subject=str(data["subject"]),
            sha256=str(data["sha256"]),
            nimg=None if data["nimg"] is None else int(data["nimg"]),
            settings=dict(data["settings"]),
            numbers=numbers,
            made=str(data["made"]),
            warnings=tuple(str(text) for text in data["warnings"]),
            facts=dict(data["facts"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise OutputError(f"the judgement is damaged ({error!r})", where=str(path)) from error


def compare(a: Judgement, b: Judgement) -> list[Verdict]:
    """A verdict for every number both have, Q first. ConfigError where they were not made under the same conditions."""
    pair = f"{a.subject} and {b.subject}"
    if a.kit != b.kit:
        what = f"judged with different kits ({a.kit[:8]} and {b.kit[:8]}); their numbers do not compare"
        raise ConfigError(what, where=pair, fix="Judge both with one kit")
    if a.kind != b.kind:
        raise ConfigError(f"one is a {a.kind}, the other a {b.kind}", where=pair)
    if differing := [key for key in sorted({*a.settings, *b.settings}) if a.settings.get(key) != b.settings.get(key)]:
        said = "; ".join(f"{key} {a.settings.get(key)} and {b.settings.get(key)}" for key in differing)
        raise ConfigError(f"judged under different settings: {said}", where=pair, fix="Judge both alike")
    names = ["q", *(name for name in COLUMNS if name != "q")]
    return [_verdict(name, a, b) for name in names if name in a.numbers and name in b.numbers]


def _verdict(name: str, a: Judgement, b: Judgement) -> Verdict:
    one, two = a.numbers[name], b.numbers[name]
    delta, se = two.value - one.value, _delta_se(one, two)
    better = COLUMNS[name].better if name in COLUMNS else ""
    gain = {"high": delta, "low": -delta, "one": abs(one.value - 1) - abs(two.value - 1), "": 0.0}[better]
    if not abs(delta) > SIGMAS * se:
        text = "no difference"
    elif gain == 0:
        text = "differs"
    else:
        text = f"{(b if gain > 0 else a).subject} is better"
    return Verdict(name, one, two, delta, se, text)


def _delta_se(a: Number, b: Number) -> float:
    """The standard error of b - a: paired where both were measured on the same halves."""
    if len(a.halves) == len(b.halves) > 1:
        return statistics.stdev(y - x for x, y in zip(a.halves, b.halves, strict=True))
    return math.hypot(a.se, b.se)
