"""The table of benchmarks/networks.py: both sides of a row make the same picture, and what a row leaves out it says. Judges no times."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from benchmarks import networks, pairs


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No peak is timed, and the number of threads and the environment are put back."""
    monkeypatch.setattr(networks, "sgemm_gflops", lambda threads: 100.0)
    monkeypatch.setattr(networks, "convolution_gflops", lambda: 100.0)
    monkeypatch.setattr(networks, "tune_libraries", lambda: None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The rows that a call with these arguments prints, below the head."""
    monkeypatch.setattr(sys, "argv", ["networks", *arguments])
    networks.main()
    return capsys.readouterr().out.splitlines()[2:]


# Of the others the pair is a network and its twin, which have tests of their own. FastGAN's are narrow: wide, one takes as long as all.
MAKERS = {name: pairs.FAMILIES[name].make for name in ("lucidrains", "lightweightgan", "pggan")} | {
    "fastgan": partial(pairs.fastgan, width=16, projected=False),
    "projected-gan": partial(pairs.fastgan, width=16, projected=True),
    "projected-gan, classes": partial(pairs.fastgan, width=16, projected=True, classes=3),
}


@pytest.mark.parametrize("name", MAKERS)
def test_both_sides_make_the_same_picture(name: str) -> None:
    with torch.inference_mode():
        pair = MAKERS[name](64)
        ws = pair.network.mapping(torch.randn(1, pair.network.z_dim, generator=torch.Generator().manual_seed(0)))
        img, expected = pair.network.place("cpu").synthesis(ws), pair.plain(ws)
    assert img.shape == expected.shape == (1, 3, 64, 64)
    assert float(expected.std()) > 0.05
    assert float((img - expected).abs().max()) <= 2e-5 * float(expected.max() - expected.min())


def test_fastgans_tanh_of_1024_px_is_on_both_sides() -> None:
    """With widths that fit a test."""
    with torch.inference_mode():
        pair = pairs.fastgan(1024, width=8, projected=False)
        ws = torch.randn(1, 1, 256, generator=torch.Generator().manual_seed(0))
        img, expected = pair.network.place("cpu").synthesis(ws), pair.plain(ws)
    assert pair.network.config["tanh"]
    assert float((img - expected).abs().max()) <= 2e-5 * float(expected.max() - expected.min())


def test_a_row_has_both_times_the_rate_and_the_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = table(monkeypatch, capsys, "--family", "dcgan", "--size", "32", "--times", "1", "--threads", "1")
    name, size, work, plain, ms, fast, _, gain, rate, share, apart, *remark = row.split()
    assert (name, size, ms, remark) == ("dcgan", "32", "ms", ["not", "a", "published", "size"])
    assert float(gain.removesuffix("x")) == pytest.approx(float(plain) / float(fast), rel=0.1, abs=0.06)
    assert float(rate) == pytest.approx(float(work) / float(fast) * 1e3, rel=0.5, abs=10)
    assert float(share.removesuffix("%")) == pytest.approx(float(rate), abs=1)  # of 100 GFLOP/s
    assert float(apart) < 1e-5


def test_sizes_that_nobody_published_are_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--size", "128", "--size", "64"
    rows = table(monkeypatch, capsys, "--family", "dcgan", *sizes, "--times", "1", "--threads", "1")
    assert [row.split()[1] for row in rows] == ["64", "128"]
    assert ["not a published size" in row for row in rows] == [False, True]


def test_beyond_the_budget_a_row_is_left_out_and_then_a_plain_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = table(monkeypatch, capsys, "--family", "dcgan", "--size", "32", "--budget", "0")
    assert "left out, the budget is spent" in row
    bench = networks.Bench(100.0, 1)
    bench.plain_rates["dcgan"] = 1e9
    cells = bench.measure("dcgan", pairs.FAMILIES["dcgan"], 32, 0.0, 0.0)
    assert cells[1] == ""
    assert cells[2].endswith("ms")
    assert "plain left out" in cells[-1]


def test_small_pictures_come_first_and_quick_takes_the_smallest() -> None:
    rows = networks.chosen(list(pairs.FAMILIES), None, quick=False)
    assert [size for _, size in rows] == sorted(size for _, size in rows)
    assert {name: {size for other, size in rows if other == name} for name in pairs.FAMILIES} == {
        name: {256, 1024, *family.published} for name, family in pairs.FAMILIES.items()
    }
    quick = dict(networks.chosen(["stylegan2", "mobilestylegan", "dcgan"], None, quick=True))
    assert quick == {"stylegan2": 256, "mobilestylegan": 256, "dcgan": 64}
