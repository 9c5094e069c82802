"""What is printed of a controller and a console: stanzas that a show takes, and what each OSC message comes to."""

from __future__ import annotations

import tomllib
from types import SimpleNamespace

import mido
import pytest

from installation.control.listen import MidiListener, OscListener, Throttle
from installation.control.osc_codec import encode
from installation.show.config import Midi
from installation.show.params import ParamTable


def cc(control: int, value: int = 1, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=control, value=value, channel=channel)


def test_each_control_is_one_stanza_that_a_show_takes() -> None:
    listener = MidiListener("latent/psi")
    notes = [mido.Message(kind, note=60, channel=9) for kind in ("note_on", "note_off")]
    said = listener.heard([cc(2, 5), cc(2, 6), cc(2, channel=15), *notes], 0.0)
    maps = Midi.model_validate(tomllib.loads("\n".join(said).replace("midi.map", "map"))).map
    assert [(row.to, row.cc, row.note, row.channel, row.bits) for row in maps] == [
        ("latent/psi", 2, None, 1, 7),
        ("latent/psi", 2, None, 16, 7),
        ("latent/psi", None, 60, 10, 7),
    ]
    assert listener.heard([cc(2, 9), *notes], 1.0) == []


def test_two_halves_together_are_one_knob_of_14_bits() -> None:
    (stanza,) = MidiListener("NAME").heard([cc(1), cc(33), cc(1), cc(33)], 0.0)
    assert "cc = 1\n" in stanza
    assert "bits = 14" in stanza


def test_two_halves_that_come_apart_are_told_again_as_one_knob() -> None:
    listener = MidiListener("NAME")
    assert "bits" not in listener.heard([cc(1)], 0.0)[0]
    (stanza,) = listener.heard([cc(33)], 0.02)
    assert "cc = 1\n" in stanza
    assert "bits = 14" in stanza
    assert listener.heard([cc(1), cc(33)], 0.1) == []


def test_a_fader_and_the_button_above_it_are_two_controls() -> None:
    listener = MidiListener("NAME")
    listener.heard([cc(0)], 0.0)
    (stanza,) = listener.heard([cc(32)], 0.3)
    assert "cc = 32\n" in stanza
    assert "bits" not in stanza


def test_what_a_map_cannot_take_is_told_once() -> None:
    listener = MidiListener("NAME")
    assert listener.heard([mido.Message("pitchwheel"), mido.Message("pitchwheel")], 0.0) == [
        "# pitchwheel: a map takes controllers (cc) and notes"
    ]


@pytest.mark.parametrize(
    ("address", "args", "made"),
    [
        ("drift/speed", (0.5, 10), "drift/speed = 0.5 in 10 s"),
        ("drift/speed", (9,), "drift/speed = 4; clamped"),
        ("drift/speed/norm", (0.5,), "drift/speed = 0"),
        ("drift/speed", (), "asks for drift/speed"),
        ("ping", (1,), "is answered at /installation/out/ping"),
        ("walk/next", (), "presses walk/next"),
        ("walk/next", (0,), "a button let go: nothing"),
        ("look/select", ("ember",), "look/select = ember"),
        ("look/select", ("silver",), "refused, unknown choice"),
        ("drift/speed", ("fast",), "refused, wrong type"),
        ("drift/sped", (1,), "refused, unknown address"),
        ("look/{brightness,contrast}", (0.5,), "look/brightness = 0.5; look/contrast = 0.5"),
    ],
)
def test_an_osc_message_is_told_with_what_it_comes_to(
    table: ParamTable, address: str, args: tuple[float | str, ...], made: str
) -> None:
    (line,) = OscListener(table).heard(encode(f"/installation/{address}", args), "127.0.0.1:5")
    assert line.startswith(f"127.0.0.1:5  /installation/{address}")
    assert made in line.split("→")[1]


@pytest.mark.parametrize(
    "datagram",
    [b"\x1b[2J what?", encode("/a\x1b[2J\n", ("\x1b]0;x\x07" * 400,)), encode("/" + "a" * 250, (1,) * 128)],
)
def test_a_stranger_s_packet_is_one_short_line_without_commands(table: ParamTable, datagram: bytes) -> None:
    (line,) = OscListener(table).heard(datagram, "127.0.0.1:5")
    assert line.isprintable()
    assert len(line) < 1200


def test_a_flood_is_lines_at_a_bounded_rate() -> None:
    now = SimpleNamespace(s=0.0)
    said: list[str] = []
    throttle = Throttle(said.append, lambda: now.s)
    for turn in range(3000):
        now.s = turn / 1000
        throttle.say([f"line {turn}"])
    assert len(said) < 200
    assert sum(int(line.split()[1]) for line in said if line.startswith("…")) > 1500
