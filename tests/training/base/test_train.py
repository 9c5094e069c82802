"""A base run from packed pictures to a checkpoint the wall shows: resume, roll back, warm start, clear errors. On coloured discs, 32 px."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from installation.errors import CheckpointError, ConfigError, EngineError, OutputError
from installation.models import checkpoint
from installation.models.header import read_header
from installation.models.network import Generator
from installation.training.base import train as module
from installation.training.base.config import BaseConfig
from installation.training.base.export import inherited_from, licence_text
from installation.training.base.plan import Plan
from installation.training.base.probe import Probe, Row
from installation.training.base.steps import Steps
from installation.training.base.train import train_base
from installation.training.base.trainee import BaseTrainee
from installation.training.loop import Outcome, Pace
from installation.training.runs import EXPORT_NAME, STATE_NAME
from installation.training.state import load_state, save_state
from installation.training.team import Team
from tests.training.base.conftest import pack_discs


def run(data: Path, out: Path, small: Mapping[str, str], *, kimg: float = 0.16, **options: Any) -> Outcome:
    return train_base(data, out, config="tiny", kimg=kimg, device="cpu", overrides=small, **options)


def tensors(out: Path) -> dict[str, torch.Tensor]:
    state = load_state(out / STATE_NAME)
    assert state is not None
    return state.tensors


@pytest.fixture(scope="module")
def finished(disc_data: Path, small: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 0.32 kimg: 40 steps."""
    out = tmp_path_factory.mktemp("runs") / "discs"
    outcome = run(disc_data, out, small, kimg=0.32)
    assert (outcome.nimg, outcome.reason) == (320, "kimg")
    return out


def test_the_wall_can_show_what_comes_out(finished: Path) -> None:
    network = checkpoint.load(finished / EXPORT_NAME)
    assert isinstance(network, Generator)
    frame = network(torch.randn(2, network.z_dim), 0.7)
    assert frame.shape == (2, 3, 32, 32)
    assert frame.isfinite().all()


def test_the_checkpoint_says_where_it_comes_from(finished: Path) -> None:
    header = read_header(finished / EXPORT_NAME)
    assert header.nimg == 320
    assert "CC0-1.0" in header.licence
    assert "128 pictures" in header.training_data
    assert "gamma" in header.notes


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ({"sources": [{"name": "a", "licence": "MIT"}, {"licence": "CC0-1.0"}, {"licence": "MIT"}]}, "MIT; CC0-1.0"),
        ({"licences": ["CC0-1.0"]}, "CC0-1.0"),
        ({"licences": {"a": "CC0-1.0", "b": "CC0-1.0"}, "sources": ["a", "b"]}, "CC0-1.0"),
        ({"licences": "MIT"}, "MIT"),
        ({"sources": [{"name": "a", "licence": ""}, {}], "licences": None}, ""),
    ],
)
def test_licences_are_found_wherever_a_manifest_keeps_them(manifest: dict[str, Any], text: str) -> None:
    assert licence_text(manifest) == text


@pytest.mark.parametrize(
    ("inherited", "text"),
    [
        ("", "by age; none stated"),
        ("follows its training data: MIT; CC0-1.0", "by age; none stated; MIT; CC0-1.0"),
        ("follows its training data: MIT; by age; none stated", "by age; none stated; MIT"),
        ("non-commercial", "by age; none stated; non-commercial"),
        ("not stated by its training data", "by age; none stated; not stated for what it began with"),
    ],
)
def test_what_a_network_began_with_is_owed_too(inherited: str, text: str) -> None:
    assert licence_text({"licences": "by age; none stated"}, inherited) == text


def test_a_warm_start_hands_the_licence_on_and_resuming_keeps_it(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.safetensors"
    network = checkpoint.load(finished / EXPORT_NAME)
    header = replace(read_header(finished / EXPORT_NAME), licence="non-commercial, theirs")
    checkpoint.save(theirs, network.state_dict(), header)
    run(disc_data, tmp_path / "warm", small, kimg=0.008, warm_start_from=theirs)
    theirs.unlink()
    run(disc_data, tmp_path / "warm", small, kimg=0.016, warm_start_from=theirs)
    assert read_header(tmp_path / "warm" / EXPORT_NAME).licence == (
        "follows its training data: CC0-1.0; non-commercial, theirs"
    )
    run(disc_data, tmp_path / "second", small, kimg=0.008, warm_start_from=tmp_path / "warm")
    assert read_header(tmp_path / "second" / EXPORT_NAME).licence.endswith("CC0-1.0; non-commercial, theirs")


def test_a_state_alone_hands_the_licence_on(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    alone, silent = tmp_path / "alone", tmp_path / "silent"
    alone.mkdir()
    shutil.copy(finished / STATE_NAME, alone)
    assert inherited_from(alone) == inherited_from(alone / STATE_NAME) == "follows its training data: CC0-1.0"
    state = load_state(alone / STATE_NAME)
    assert state is not None
    save_state(silent / STATE_NAME, state.tensors, {**state.facts, "licence": ""})
    assert inherited_from(silent) == "not stated by its training data"
    state = replace(state, facts={**state.facts, "licence": "non-commercial, theirs"})
    save_state(tmp_path / "carried" / STATE_NAME, state.tensors, state.facts)
    run(disc_data, tmp_path / "carried", small, kimg=state.facts["nimg"] / 1000 + 0.008)
    assert read_header(tmp_path / "carried" / EXPORT_NAME).licence.endswith("CC0-1.0; non-commercial, theirs")
    run(disc_data, tmp_path / "warm", small, kimg=0.008, warm_start_from=silent)
    assert read_header(tmp_path / "warm" / EXPORT_NAME).licence.endswith("CC0-1.0; not stated for what it began with")


def test_weights_are_stored_in_16_bits(finished: Path) -> None:
    header = read_header(finished / EXPORT_NAME)
    assert (finished / EXPORT_NAME).stat().st_size < 2 * header.parameters + 8000


def test_pictures_and_curves_lie_in_the_folder(finished: Path) -> None:
    names = {path.name.rsplit("-", 1)[0] for path in (finished / "pictures").glob("*.png")}
    assert names == {"samples", "samples-psi0.7", "walk", "reals"}
    with Image.open(finished / "curves.png") as page:
        assert page.width > 400
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {"loss_critic", "loss_generator", "r_t", "overfit", "augment_p"} <= {key for row in rows for key in row}


def test_the_sheet_of_real_pictures_is_the_dataset(finished: Path) -> None:
    """Discs: the middle is one flat bright colour, the corner a flat dark one."""
    frame = np.asarray(Image.open(next((finished / "pictures").glob("reals-*.png"))))
    assert frame[16, 16].mean() > frame[0, 0].mean() + 10


def kept(folder: Path) -> list[int | None]:
    return [read_header(path).nimg for path in sorted((folder / "snapshots").glob("*.safetensors"))]


def test_snapshots_of_its_history_are_kept(finished: Path) -> None:
    assert kept(finished) == [0, 200]


@pytest.mark.slow
def test_stops_leave_no_snapshot_each(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    small = {**small, "show_kimg": "0.04"}
    for kimg in (0.04, 0.056, 0.072, 0.08, 0.096):
        run(disc_data, tmp_path / "r", small, kimg=kimg)
    assert kept(tmp_path / "r") == [0, 40, 80]


@pytest.mark.slow
def test_stopping_and_going_on_is_the_same_as_not_stopping(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    """40 steps at once against 20, and 20 in another process's place: every tensor of the state, to the last bit but for rounding."""
    out = tmp_path / "discs"
    run(disc_data, out, small, kimg=0.16)
    run(disc_data, out, small, kimg=0.32)
    whole, parts = tensors(finished), tensors(out)
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.allclose(parts[name], tensor, rtol=1e-5, atol=1e-6), name


def test_another_seed_is_another_run(finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    run(disc_data, tmp_path / "discs", small, kimg=0.04, seed=1)
    assert not torch.equal(tensors(tmp_path / "discs")["critic.out.weight"], tensors(finished)["critic.out.weight"])


@pytest.mark.parametrize("where", ["weights", "loss"])
def test_nan_rolls_back_by_itself(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real, spoiled = Steps.step, []

    def step(self: Steps, batch: Any, count: int, **options: Any) -> dict[str, torch.Tensor]:
        numbers = real(self, batch, count, **options)
        if count == 12 and not spoiled:
            spoiled.append(count)
            if where == "loss":
                return {**numbers, "loss_critic": torch.tensor(float("nan"))}
            with torch.no_grad():
                next(self.generator.parameters()).mul_(float("nan"))
        return numbers

    monkeypatch.setattr(Steps, "step", step)
    events: list[str] = []
    outcome = run(
        disc_data, tmp_path / "discs", small, pace=Pace(check_s=0.0), progress=lambda p: events.append(p.event)
    )
    assert (outcome.nimg, outcome.rolled_back) == (160, 1)
    assert any("halved" in event for event in events)
    assert all(bool(tensor.isfinite().all()) for tensor in tensors(tmp_path / "discs").values())
    state = load_state(tmp_path / "discs" / STATE_NAME)
    assert state is not None
    assert state.facts["loop"]["lr_factor"] == 0.5


def test_training_that_always_breaks_down_ends_with_a_reason(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steps, "step", lambda self, batch, count, **options: {"r_t": torch.tensor(float("nan"))})
    with pytest.raises(EngineError, match="breaks down"):
        run(disc_data, tmp_path / "discs", small, pace=Pace(check_s=0.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "ns"},
        {"penalty": "difference"},
        {"augment": "ada", "augment_target": "0.2"},
        {"augment": "off", "flip": "false"},
        {"path_weight": "2", "path_kimg": "0"},
        {"grid": "0.5"},
        {"gamma": "0", "group": "3", "mapping_layers": "3"},
    ],
    ids=lambda changes: next(iter(changes)) + "=" + next(iter(changes.values())),
)
def test_every_option_trains(
    disc_data: Path, small: dict[str, str], tmp_path: Path, changes: Mapping[str, str]
) -> None:
    outcome = run(disc_data, tmp_path / "discs", {**small, **changes}, kimg=0.08)
    assert (outcome.nimg, outcome.rolled_back) == (80, 0)
    assert all(bool(tensor.isfinite().all()) for tensor in tensors(tmp_path / "discs").values())


def test_a_warm_start_begins_with_a_checkpoints_pictures(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "warm"
    run(disc_data, out, {**small, "warm_kimg": "0.024"}, kimg=0.024, warm_start_from=finished / EXPORT_NAME)
    given, got = checkpoint.load(finished / EXPORT_NAME), tensors(out)
    for name, tensor in given.state_dict().items():
        if name != "mapping.w_avg":
            # Until the warm-up ends the critic learns alone.
            assert torch.equal(got[f"generator.{name}"], tensor), name
    assert json.loads((out / "run.json").read_text())["parents"]["warm_start"]
    run(disc_data, out, {**small, "warm_kimg": "0.024"}, kimg=0.04, warm_start_from=finished / EXPORT_NAME)
    assert not torch.equal(tensors(out)["generator.synthesis.b4.const"], got["generator.synthesis.b4.const"])


def test_a_warm_start_from_a_run_takes_its_critic_too(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "warm"
    run(disc_data, out, {**small, "lr_critic": "1e-9", "lr_generator": "1e-9"}, kimg=0.016, warm_start_from=finished)
    assert torch.allclose(tensors(out)["critic.fc.weight"], tensors(finished)["critic.fc.weight"], atol=1e-6)


def test_a_warm_start_from_the_two_networks_alone_in_half_precision(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    """As `checkpoints/states` has them: without average, moments and records of the draws."""
    state = load_state(finished / STATE_NAME)
    assert state is not None
    kept = {k: v.bfloat16() for k, v in state.tensors.items() if k.startswith(("generator.", "critic."))}
    save_state(tmp_path / STATE_NAME, kept, state.facts)
    out = tmp_path / "warm"
    run(disc_data, out, {**small, "lr_critic": "1e-9", "lr_generator": "1e-9"}, kimg=0.016, warm_start_from=tmp_path)
    got = tensors(out)
    for name in ("generator", "average"):
        want = kept["generator.synthesis.b4.const"].float()
        assert torch.allclose(got[f"{name}.synthesis.b4.const"].float(), want, atol=1e-3)


@pytest.mark.slow
def test_a_run_of_half_the_size_grows(finished: Path, small: dict[str, str], tmp_path: Path) -> None:
    data = pack_discs(tmp_path / "d.safetensors", size=64, count=40)
    larger = {**small, "size": "64", "channels": "8,8,8,8,4", "critic_channels": "8,8,8,8,4", "warm_kimg": "0.024"}
    run(data, tmp_path / "grown", larger, kimg=0.024, warm_start_from=finished)
    before, after = tensors(finished), tensors(tmp_path / "grown")
    old = [name for name in before if name.startswith("generator.")]
    assert len(old) > 20
    assert all(torch.equal(after[name], before[name]) for name in old)
    # Until the critic knows the new size, the picture is the old one, enlarged.
    assert not after["generator.synthesis.b64.torgb.weight"].any()
    assert after["generator.synthesis.b64.conv1.weight"].any()
    run(data, tmp_path / "grown", larger, kimg=0.064, warm_start_from=finished)
    assert tensors(tmp_path / "grown")["generator.synthesis.b64.torgb.weight"].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "128", "channels": "8,8,8,8,4,4", "critic_channels": "8,8,8,8,4,4"}, "cannot grow to 128 px at once"),
        ({"size": "64", "channels": "8,8,8,4,4", "critic_channels": "8,8,8,8,4"}, "no beginning of these"),
    ],
)
def test_a_run_that_cannot_grow_so_is_refused(
    finished: Path, small: dict[str, str], tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    data = pack_discs(tmp_path / "d.safetensors", size=int(changes["size"]), count=40)
    with pytest.raises(CheckpointError, match=message):
        run(data, tmp_path / "r", {**small, **changes}, warm_start_from=finished)


def test_a_warm_start_of_another_shape_is_refused(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="channels is"):
        run(disc_data, tmp_path / "w", {**small, "channels": "16,8,8,8"}, warm_start_from=finished / EXPORT_NAME)


def test_a_run_goes_on_when_what_it_began_with_has_changed_or_is_gone(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    parent = tmp_path / "parent.safetensors"
    parent.write_bytes((finished / EXPORT_NAME).read_bytes())
    run(disc_data, tmp_path / "w", small, kimg=0.016, warm_start_from=parent)
    parent.write_bytes(b"trained on")
    assert run(disc_data, tmp_path / "w", small, kimg=0.024, warm_start_from=parent).nimg == 24
    parent.unlink()
    assert run(disc_data, tmp_path / "w", small, kimg=0.032).nimg == 32


@pytest.mark.parametrize("name", ["nowhere.safetensors", "empty"])
def test_nothing_to_begin_with_is_said_and_binds_nobody(
    disc_data: Path, small: dict[str, str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="nothing to begin with"):
        run(disc_data, tmp_path / "w", small, warm_start_from=tmp_path / name)
    assert not (tmp_path / "w").exists()


def test_after_a_warm_start_that_does_not_fit_the_folder_is_free(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="the shape is another"):
        run(disc_data, tmp_path / "w", {**small, "w_dim": "4"}, warm_start_from=finished / EXPORT_NAME)
    assert run(disc_data, tmp_path / "w", small, kimg=0.016, warm_start_from=finished / EXPORT_NAME).nimg == 16


def test_memory_that_does_not_suffice_is_one_clear_error(
    disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="memory does not suffice"):
        run(disc_data, tmp_path / "w", {**small, "z_dim": str(10**15)})
    assert run(disc_data, tmp_path / "w", small, kimg=0.016).nimg == 16


def test_a_dataset_of_another_size_is_refused(small: dict[str, str], tmp_path: Path) -> None:
    data = pack_discs(tmp_path / "d.safetensors", size=16, count=40)
    with pytest.raises(ConfigError, match="16 px"):
        run(data, tmp_path / "r", small)


def test_one_picture_is_too_few(small: dict[str, str], tmp_path: Path) -> None:
    data = pack_discs(tmp_path / "d.safetensors", count=1)
    with pytest.raises(ConfigError, match="fewer than one batch"):
        run(data, tmp_path / "r", small)


def test_a_folder_of_something_else_is_no_dataset(small: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello, I am a text file, and rather a long one")
    with pytest.raises(OutputError):
        run(tmp_path / "text.safetensors", tmp_path / "r", small)


def test_a_folder_that_holds_another_run_is_left_alone(finished: Path, disc_data: Path, small: dict[str, str]) -> None:
    before = (finished / STATE_NAME).read_bytes()
    with pytest.raises(ConfigError, match="loss"):
        run(disc_data, finished, {**small, "loss": "ns"})
    with pytest.raises(ConfigError, match="already holds"):
        run(disc_data, finished, small, resume="never")
    assert (finished / STATE_NAME).read_bytes() == before


def test_a_run_whose_compiled_plan_fails_here_goes_on_without(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The like machine without a C compiler, or with files of a compilation that was killed."""
    out, events = tmp_path / "discs", []
    run(disc_data, out, small, kimg=0.008)
    state = load_state(out / STATE_NAME)
    assert state is not None
    save_state(out / STATE_NAME, state.tensors, {**state.facts, "plan": {**state.facts["plan"], "compiled": True}})

    def fail(*args: object) -> torch.Tensor:
        raise OSError("file too short")

    monkeypatch.setattr(torch, "compile", lambda network, **options: fail)
    run(disc_data, out, small, kimg=0.016, progress=lambda p: events.append(p.event))
    state = load_state(out / STATE_NAME)
    assert state is not None
    assert (state.facts["nimg"], state.facts["plan"]["compiled"]) == (16, False)
    assert "without (OSError: file too short)" in events[0]


def test_a_compiled_plan_that_works_is_kept(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "discs"
    run(disc_data, out, small, kimg=0.008)
    state = load_state(out / STATE_NAME)
    assert state is not None
    save_state(out / STATE_NAME, state.tensors, {**state.facts, "plan": {**state.facts["plan"], "compiled": True}})
    monkeypatch.setattr(torch, "compile", lambda network, **options: network)
    run(disc_data, out, small, kimg=0.016)
    state = load_state(out / STATE_NAME)
    assert state is not None
    assert state.facts["plan"]["compiled"]


def test_a_state_that_is_carried_home_alone_makes_its_network(
    finished: Path, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    """With the kimg that it has: nothing is left to learn."""
    home = tmp_path / "discs"
    home.mkdir()
    shutil.copy(finished / STATE_NAME, home)
    run(disc_data, home, small, kimg=0.32)
    assert read_header(home / EXPORT_NAME).nimg == 320


def test_processes_keep_one_path_length(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Team, "average", lambda team, numbers: torch.full_like(numbers, 7.0))
    run(disc_data, tmp_path / "discs", {**small, "path_weight": "2", "path_kimg": "0", "warm_kimg": "0"}, kimg=0.04)
    assert tensors(tmp_path / "discs")["path_mean"] == 7.0


def test_what_the_probe_chose_is_said_and_its_time_counts(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU by its name alone: the probe takes 30 of the 60 seconds that were asked for, and the loop gets the rest."""
    now, heard, events = [100.0], {}, []
    found = Probe((Row(Plan(8), 50.0), Row(Plan(8, compiled=True), 0.0, note="no compiler")), Plan(8), 30.0)

    def probe(config: BaseConfig, device: torch.device, **options: Any) -> Probe:
        now[0] += 30.0
        heard.update(options)
        return found

    def train(trainee: BaseTrainee, state_path: Path, **options: Any) -> Outcome:
        heard.update(options, plan=trainee.plan)
        return Outcome(0, "minutes", 0, 0.0)

    def plan(config: BaseConfig, device: torch.device, *args: Any, **options: Any) -> Plan:
        return choose(config, torch.device("cuda"), *args, **options)

    choose = module.choose_plan
    monkeypatch.setattr(module, "choose_plan", plan)
    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(module.devices, "name", str)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    run(disc_data, tmp_path / "discs", small, minutes=1.0, progress=lambda p: events.append(p.event))
    assert heard["seconds"] == 6.0
    assert heard["minutes"] == 0.5
    assert heard["plan"] == Plan(8)
    assert found.table() in events[-1]
    assert "no compiler" in events[-1]
    line = json.loads((tmp_path / "discs" / "metrics.jsonl").read_text())
    assert (line["nimg"], line["set_up_s"]) == (0, 30.0)


def test_on_a_cpu_nothing_is_probed(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "probe", lambda *args, **options: pytest.fail("probed"))
    run(disc_data, tmp_path / "discs", small, kimg=0.008)
