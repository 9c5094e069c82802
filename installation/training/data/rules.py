"""From scores to a decision. Pure: the same entry and rules give the same answer, so rules can be changed without measuring again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from installation.training.data.duplicates import Same
from installation.training.data.manifest import Decision, Entry

_STANDING = {"keep": 2, "uncertain": 1, "drop": 0}
# Times that a picture is made smaller from which on it hides JPEG's blocks.
HIDES_BLOCKS = 2.0
# The reasons that say "this is not a picture of its own", whatever else it is.
_TWINS = {"sha256": "duplicate", "hash": "near-duplicate", "features": "near-duplicate"}

# Limits of `Rules.drawing` that no chance is beyond.
DRAWINGS_TOO = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is dropped, and what is asked about. Pairs are (drop beyond, ask beyond).

    side: px that the face's crop has to have. size: edge of the crops that are wanted, px, if it is known: what making the picture so
    small hides is no reason. detail: true resolution as a part of the pixels. quality: JPEG's. blocks: 8-px grid. drawing: chance.
    sharpness: of the face. outside: share of the crop outside the picture. turned: eye distances. text: share of the picture. border:
    part of a side. contrast. blown, crushed: share of white and black px. faces_needed: False for patches, textures, anything that is no
    portrait.
    """

    side: int = 64
    size: int | None = None
    detail: tuple[float, float] = (0.55, 0.8)
    quality: tuple[int, int] = (40, 70)
    blocks: tuple[float, float] = (2.0, 1.65)
    drawing: tuple[float, float] = (0.8, 0.35)
    sharpness: tuple[float, float] = (0.12, 0.2)
    outside: tuple[float, float] = (0.2, 0.1)
    turned: tuple[float, float] = (0.9, 0.55)
    text: tuple[float, float] = (0.2, 0.01)
    border: tuple[float, float] = (0.3, 0.04)
    contrast: tuple[float, float] = (0.12, 0.3)
    blown: tuple[float, float] = (0.75, 0.5)
    crushed: tuple[float, float] = (0.75, 0.5)
    faces_needed: bool = True


def decide(entry: Entry, rules: Rules, *, twin: str = "", maybe: Sequence[str] = ()) -> Entry:
    """The entry with decision and reasons by rule; one decided by hand keeps its decision. twin: the reason that it is a copy.

    maybe: reasons to ask whether it is one.
    """
    drop, ask = _reasons(entry, rules)
    if twin:
        drop.insert(0, twin)
    ask += maybe
    decision: Decision = "drop" if drop else "uncertain" if ask else "keep"
    if entry.by == "hand":
        decision = entry.decision
    return replace(entry, decision=decision, reasons=drop + ask)


def decide_all(entries: Iterable[Entry], same: Iterable[Same], rules: Rules) -> dict[str, Entry]:
    """Every entry decided. Of each group of copies the best one stands for itself, the others are dropped.

    Of a pair that may be one, the poorer is asked about, unless one of the two is dropped already.
    """
    same = list(same)
    decided = {entry.name: decide(entry, rules) for entry in entries}
    for group in (each for each in same if each.sure):
        best = max(group.names, key=lambda name: _worth(decided[name]))
        for name in group.names:
            if name != best:
                decided[name] = decide(
                    decided[name], rules, twin=f"{_TWINS[group.how[name]]}: of {best} ({group.how[name]})"
                )
    doubts: dict[str, list[str]] = defaultdict(list)
    for pair in (each for each in same if not each.sure):
        better, poorer = sorted(pair.names, key=lambda name: _worth(decided[name]), reverse=True)
        if decided[poorer].decision != "drop":
            doubts[poorer].append(f"maybe-duplicate: of {better} ({pair.how[poorer]})")
    return decided | {name: decide(decided[name], rules, maybe=reasons) for name, reasons in doubts.items()}


def _reasons(entry: Entry, rules: Rules) -> tuple[list[str], list[str]]:
    """Reasons to drop, reasons to ask."""
    if entry.error:
        return [f"unreadable: {entry.error}"], []
    scores, drop, ask = entry.scores, [], []

    def judge(code: str, value: float | None, limits: tuple[float, float], text: str, asks: bool = True) -> None:
        """limits: (drop, ask); which of the two is larger says in which direction it gets worse."""
        if value is None:
            return
        sign = 1 if limits[0] >= limits[1] else -1
        if sign * value > sign * limits[0]:
            drop.append(f"{code}: {text}")
        elif asks and sign * value > sign * limits[1]:
            ask.append(f"{code}: {text}")

    face = entry.faces[0] if entry.faces else None
    detail = face["detail"] if face else scores.get("detail")
    # How many px the picture has for each px of the wanted crop.
    spare = (
        0.0 if rules.size is None else (face["side"] if face else min(scores["width"], scores["height"])) / rules.size
    )
    if scores.get("frames", 1) > 1:
        ask.append(f"animated: {scores['frames']} frames, the first is taken")
    for code, key, limits in (
        ("drawing", "drawing", rules.drawing),
        ("border", "border", rules.border),
        ("text", "text", rules.text),
        ("blocky", "blockiness", rules.blocks),
        ("jpeg", "jpeg_quality", rules.quality),
        ("flat", "contrast", rules.contrast),
        ("blown", "blown", rules.blown),
        ("crushed", "crushed", rules.crushed),
    ):
        # Blocks of 8 px are 4 px or less then; only gross ones are still to be seen.
        asks = code not in ("blocky", "jpeg") or spare < HIDES_BLOCKS
        judge(code, scores.get(key), limits, f"{key.replace('_', ' ')} {scores.get(key)}", asks)
    if detail is not None and detail * spare < 1:
        judge("upscaled", detail, rules.detail, f"detail {detail}: enlarged, or out of focus")
    if face is not None:
        _judge_face(face, rules, drop, judge)
        if len(entry.faces) > 1 and face["others"]:
            ask.append(f"several-faces: {face['others']} more in the crop")
    elif rules.faces_needed:
        drop.append("no-face: none was found")
    return drop, ask


def _judge_face(face: dict[str, Any], rules: Rules, drop: list[str], judge: Any) -> None:
    if face["side"] < rules.side:
        drop.append(f"small-face: the crop has {face['side']:.0f} px")
    judge("blurred", face["sharpness"], rules.sharpness, f"sharpness {face['sharpness']}")
    judge("edge", face["outside"], rules.outside, f"{face['outside']:.0%} of the crop is outside")
    judge("turned", face["turned"], rules.turned, f"nose {face['turned']} eye distances off the middle")


def _worth(entry: Entry) -> tuple[bool, int, float, float, int]:
    """Larger is better: kept by hand, kept, not dropped, true px, JPEG quality, size of the file. Of equals the first stays.

    A copy that is asked about where another is not was enlarged, squeezed or lettered since.
    """
    scores = entry.scores
    sharp = entry.faces[0]["detail"] if entry.faces else scores.get("detail")
    px = scores.get("width", 0) * scores.get("height", 0) * (sharp or 1.0) ** 2
    by_hand = entry.by == "hand" and entry.decision == "keep"
    return by_hand, _STANDING[entry.decision], px, scores.get("jpeg_quality") or 100, entry.bytes
