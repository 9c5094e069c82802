"""What decides the look's pixels, as one comparable value. Pure Python."""

from dataclasses import dataclass, replace

from installation.output.programs import UniformValue
from installation.show.look import Grade
from installation.show.params import CROSSFADES

_GRAIN_HZ = 24.0
_GRAIN_SEEDS = 1 << 20  # whole numbers a float32 uniform holds exactly
_FADE_POWER = 2.2  # a blackout fader moved evenly darkens evenly to the eye


@dataclass(frozen=True, slots=True)
class Look:
    """Equal looks have equal pixels.

    a, b: history slots, mix: 0 is a, 1 is b. gain: brightness, tint and blackout in linear light. seed: of the grain.
    time_s: wrapped show time where the shader uses it, else 0. uploads: how often the two slots were filled; programs:
    which generation of shaders.
    """

    a: int
    b: int
    mix: float
    dissolve: bool
    grade: Grade
    gain: tuple[float, float, float]
    seed: int = 0
    time_s: float = 0.0
    uploads: tuple[int, int] = (0, 0)
    programs: int = 0

    @property
    def variant(self) -> str:
        """Name of the program that draws it."""
        gain_only = replace(Grade(), brightness=self.grade.brightness, tint=self.grade.tint)
        return ("dissolve" if self.dissolve else "mix") + ("" if self.grade == gain_only else "+grade")

    def uniforms(self) -> dict[str, UniformValue]:
        return {
            "u_mix": self.mix,
            "u_gain": self.gain,
            # The sRGB curve but for its toe; no tint is quite 0, for the shader divides by it.
            "u_tint": tuple(max(gain, 1e-6) ** (1 / 2.4) for gain in self.grade.tint),
            "u_contrast": self.grade.contrast,
            "u_saturation": self.grade.saturation,
            "u_gamma": max(self.grade.gamma, 1e-3),
            "u_lift": self.grade.lift,
            "u_grain": self.grade.grain,
            "u_grain_seed": float(self.seed),
            "u_vignette": self.grade.vignette,
        }


def make_look(a: int, b: int, mix: float, *, crossfade: str, grade: Grade, blackout: float, time_s: float) -> Look:
    """The look of a moment. Where only one frame shows, both slots are that one. ValueError: unknown crossfade."""
    if crossfade not in CROSSFADES:
        raise ValueError(f"crossfade is {crossfade!r}; it must be one of {', '.join(CROSSFADES)}")
    share = min(max(mix, 0.0), 1.0)
    if crossfade == "cut":
        share = float(share >= 0.5)
    if share in (0.0, 1.0) or a == b:
        a = b = b if share == 1.0 else a
        share = 0.0
    gain = grade.brightness * (1.0 - min(max(blackout, 0.0), 1.0)) ** _FADE_POWER
    return Look(
        a=a,
        b=b,
        mix=share,
        dissolve=crossfade == "dissolve" and share > 0.0,
        grade=grade,
        gain=(gain * grade.tint[0], gain * grade.tint[1], gain * grade.tint[2]),
        seed=int(time_s * _GRAIN_HZ) % _GRAIN_SEEDS if grade.grain else 0,
    )
