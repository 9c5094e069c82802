"""From scores to decisions, and who of several copies stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from installation.training.data.duplicates import Same
from installation.training.data.manifest import Entry
from installation.training.data.rules import DRAWINGS_TOO, Rules, decide, decide_all

FACE = {"side": 300.0, "detail": 1.0, "sharpness": 0.5, "outside": 0.0, "turned": 0.05, "others": 0}
SCORES = {
    "width": 400,
    "height": 500,
    "frames": 1,
    "contrast": 0.8,
    "crushed": 0.0,
    "blown": 0.0,
    "border": 0.0,
    "detail": 1.0,
    "jpeg_quality": 92,
    "blockiness": 1.1,
    "drawing": 0.05,
    "text": 0.0,
}
GOOD = Entry("s/a", 9, 9, "aa", scores=SCORES, faces=[FACE])


def judged(face: dict[str, Any] | None = None, **scores: Any) -> Entry:
    return decide(replace(GOOD, scores={**SCORES, **scores}, faces=[{**FACE, **(face or {})}]), Rules())


def test_a_good_picture_is_kept_without_a_reason() -> None:
    assert (judged().decision, judged().reasons) == ("keep", [])


@pytest.mark.parametrize(
    ("code", "doubtful", "bad"),
    [
        ("drawing", {"drawing": 0.5}, {"drawing": 0.95}),
        ("border", {"border": 0.1}, {"border": 0.4}),
        ("text", {"text": 0.03}, {"text": 0.3}),
        ("blocky", {"blockiness": 1.8}, {"blockiness": 3.0}),
        ("jpeg", {"jpeg_quality": 60}, {"jpeg_quality": 20}),
        ("flat", {"contrast": 0.2}, {"contrast": 0.05}),
        ("blown", {"blown": 0.6}, {"blown": 0.8}),
        ("upscaled", {"face": {"detail": 0.7}}, {"face": {"detail": 0.3}}),
        ("blurred", {"face": {"sharpness": 0.15}}, {"face": {"sharpness": 0.05}}),
        ("edge", {"face": {"outside": 0.15}}, {"face": {"outside": 0.5}}),
        ("turned", {"face": {"turned": 0.7}}, {"face": {"turned": 1.2}}),
    ],
)
def test_each_rule_asks_and_then_drops(code: str, doubtful: dict[str, Any], bad: dict[str, Any]) -> None:
    for entry, decision in ((judged(**doubtful), "uncertain"), (judged(**bad), "drop")):
        assert entry.decision == decision
        assert [reason.split(":")[0] for reason in entry.reasons] == [code]


def test_all_reasons_are_given_not_only_the_first() -> None:
    assert len(judged(drawing=0.9, border=0.4, text=0.05).reasons) == 3


def test_an_engraving_may_be_as_welcome_as_a_photograph() -> None:
    entry = judged(drawing=1.0)
    assert entry.decision == "drop"
    assert decide(entry, Rules(drawing=DRAWINGS_TOO)).decision == "keep"


def test_a_score_that_was_not_taken_speaks_for_nothing() -> None:
    assert judged(text=None, jpeg_quality=None, blockiness=None).decision == "keep"


def test_no_face_drops_unless_none_is_needed() -> None:
    entry = replace(GOOD, faces=[])
    assert decide(entry, Rules()).reasons == ["no-face: none was found"]
    assert decide(entry, Rules(faces_needed=False)).decision == "keep"


def test_an_unreadable_file_is_dropped_with_its_reason() -> None:
    entry = decide(Entry("s/a", error="damaged: x"), Rules())
    assert (entry.decision, entry.reasons) == ("drop", ["unreadable: damaged: x"])


def test_another_face_in_the_crop_is_asked_about() -> None:
    faces = [{**FACE, "others": 1}, FACE]
    assert decide(replace(GOOD, faces=faces), Rules()).decision == "uncertain"


def test_what_was_decided_by_hand_stays() -> None:
    entry = decide(replace(judged(drawing=0.95), by="hand", decision="keep"), Rules())
    assert entry.decision == "keep"
    assert entry.reasons


def test_of_copies_the_largest_true_resolution_stays() -> None:
    large_but_soft = replace(
        GOOD, name="s/soft", scores={**SCORES, "width": 800, "height": 1000}, faces=[{**FACE, "detail": 0.45}]
    )
    small = replace(GOOD, name="s/small", scores={**SCORES, "width": 200, "height": 250})
    names = ["s/a", "s/soft", "s/small"]
    found = decide_all([GOOD, large_but_soft, small], [Same(names, dict.fromkeys(names, "hash"))], Rules())
    assert [found[name].decision for name in names] == ["keep", "drop", "drop"]
    assert found["s/small"].reasons[0] == "near-duplicate: of s/a (hash)"


def test_the_copy_kept_by_hand_stays() -> None:
    other = replace(GOOD, name="s/b", by="hand", decision="keep", scores={**SCORES, "width": 100, "height": 100})
    names = ["s/a", "s/b"]
    found = decide_all([GOOD, other], [Same(names, dict.fromkeys(names, "sha256"))], Rules())
    assert (found["s/a"].decision, found["s/b"].decision) == ("drop", "keep")


def test_what_the_wanted_size_hides_is_no_reason() -> None:
    large = replace(
        GOOD, scores={**SCORES, "blockiness": 1.8, "jpeg_quality": 60}, faces=[{**FACE, "side": 1200.0, "detail": 0.5}]
    )
    assert decide(large, Rules()).decision == "drop"
    assert decide(large, Rules(size=256)).decision == "keep"
    assert [reason.split(":")[0] for reason in decide(large, Rules(size=1024)).reasons] == [
        "upscaled",
        "blocky",
        "jpeg",
    ]
    gross = replace(large, scores={**SCORES, "blockiness": 3.0})
    assert decide(gross, Rules(size=256)).decision == "drop"


def test_of_copies_the_one_that_needs_no_question_stays() -> None:
    large = replace(GOOD, name="s/large", scores={**SCORES, "width": 800, "height": 1000, "frames": 3})
    decided = decide_all([large, GOOD], [Same(["s/large", "s/a"], {"s/large": "hash", "s/a": "hash"})], Rules())
    assert (decided["s/a"].decision, decided["s/large"].decision) == ("keep", "drop")
