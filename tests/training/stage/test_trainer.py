"""A stage's run from end to end, small: it learns, goes on where it was killed, refuses what does not fit, and its result is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from installation.errors import CheckpointError, ConfigError
from installation.files import fingerprint
from installation.models import checkpoint, projection
from installation.models.cascade import Cascade
from installation.models.header import read_header
from installation.training.dataset import Dataset
from installation.training.features import efficientnet
from installation.training.loop import Pace
from installation.training.run_info import list_runs, read_run
from installation.training.runs import STATE_NAME
from installation.training.stage.configs import resolve
from installation.training.stage.crops import make_crops
from installation.training.stage.source import Crops, Previous
from installation.training.stage.trainee import StageTrainee
from installation.training.stage.trainer import train_stage
from installation.training.state import load_state, save_state
from tests.training.stage.conftest import TINY

CPU = torch.device("cpu")


def _trainee(dataset: Dataset, base: Path | None = None, scale: int = 2, **changes: str) -> StageTrainee:
    config = resolve("nano", TINY | changes)
    crops = Crops(dataset, dataset.split(0.1)[0], config.crop + scale, CPU)
    return StageTrainee(config, scale, 0, crops, previous=Previous([base], CPU) if base else None)


def _run(dataset: Dataset, out: Path, kimg: float, **options):
    changes = TINY | options.pop("overrides", {})
    return train_stage(dataset.path, out, scale=2, kimg=kimg, device="cpu", overrides=changes, **options)


def test_the_paired_difference_falls_in_thirty_steps(dataset: Dataset) -> None:
    trainee = _trainee(dataset, warm_kimg="1000")
    losses = [float(trainee.step()["l1"]) for _ in range(30)]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_with_a_previous_stage_and_a_critic_every_loss_is_there_and_finite(dataset: Dataset, base: Path) -> None:
    trainee = _trainee(dataset, base)
    numbers = dict(trainee.step())
    assert set(numbers) == {"l1", "critic", "sure", "r1", "gan", "shift", "walk"}
    assert all(bool(value.isfinite()) for value in numbers.values())
    assert trainee.sound()


def test_who_goes_on_from_a_state_alone_owes_what_it_owed(dataset: Dataset, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "first", 0.008)
    state = load_state(tmp_path / "first" / STATE_NAME)
    assert state is not None
    assert state.facts["licence"] == "follows its training data: CC0-1.0"
    save_state(tmp_path / "second" / STATE_NAME, state.tensors, {**state.facts, "licence": "theirs, with attribution"})
    for kimg in (0.016, 0.024):
        _run(dataset, tmp_path / "second", kimg)
        header = read_header(tmp_path / "second" / "G_ema.safetensors")
        assert header.licence == "follows its training data: CC0-1.0; theirs, with attribution"


def test_the_critic_learns_to_tell_real_from_made(dataset: Dataset) -> None:
    trainee = _trainee(dataset, lr_critic="0.002", gan="0.001", lr_stage="0.00001")
    with torch.no_grad():
        trainee.stage.last.weight.zero_()  # only smooth enlargements are made
    sure = [float(trainee.step()["sure"]) for _ in range(100)]
    assert np.mean(sure[-10:]) > 0.7


def test_the_critic_also_looks_at_what_the_picture_was_made_from(dataset: Dataset) -> None:
    trainee = _trainee(dataset)
    img, lo = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 16, 16)
    assert not torch.allclose(trainee.critic(img, lo), trainee.critic(img, lo.flip(0)))


def test_a_run_cut_in_two_ends_with_the_same_weights(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    for place, ends in (("whole", [0.04]), ("parts", [0.012, 0.04])):
        for kimg in ends:
            _run(dataset, tmp_path / place / "run", kimg, previous=base)
    whole, parts = (load_state(tmp_path / place / "run" / "state.safetensors") for place in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert whole.facts["nimg"] == parts.facts["nimg"] == 40
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


def test_a_run_goes_on_from_a_state_without_moments(dataset: Dataset, tmp_path: Path) -> None:
    """As `checkpoints/states` has them, in half precision."""
    _run(dataset, tmp_path / "whole", 0.024)
    state = load_state(tmp_path / "whole" / STATE_NAME)
    assert state is not None
    kept = {name: tensor.bfloat16() for name, tensor in state.tensors.items() if "_v." not in name}
    (tmp_path / "small").mkdir()
    save_state(tmp_path / "small" / STATE_NAME, kept, state.facts)
    assert _run(dataset, tmp_path / "small", 0.04).nimg == 40


def test_numbers_that_are_none_send_it_back_and_it_goes_on(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, broken = StageTrainee.step, []

    def once_broken(self: StageTrainee):
        numbers = step(self)
        if self.nimg >= 20 and not broken:
            broken.append(self.nimg)
            with torch.no_grad():
                next(self.stage.parameters()).fill_(float("nan"))
        return numbers

    monkeypatch.setattr(StageTrainee, "step", once_broken)
    outcome = _run(dataset, tmp_path / "run", 0.04, pace=Pace(check_s=0, save_s=0, show_kimg=1000))
    assert broken
    assert outcome.rolled_back == 1
    stage = checkpoint.load(tmp_path / "run" / "G_ema.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in stage.state_dict().values())


@pytest.mark.slow
def test_a_stage_that_is_conditioned_on_w_goes_on_exactly_and_follows_w(
    dataset: Dataset, base: Path, tmp_path: Path
) -> None:
    w_dim = read_header(base).z_dim
    for place, ends in (("whole", [0.2]), ("parts", [0.042, 0.2])):
        for kimg in ends:
            changes = {"w_dim": str(w_dim), "lr_stage": "0.02"}
            _run(dataset, tmp_path / place / "run", kimg, previous=base, overrides=changes)
    whole, parts = (load_state(tmp_path / place / "run" / "state.safetensors") for place in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)
    path = tmp_path / "whole" / "run" / "G_ema.safetensors"
    header = read_header(path)
    assert header.w_dim == header.config["w_dim"] == w_dim
    plain, tiled = (Cascade(checkpoint.load(base), [checkpoint.load(path)], device="cpu", tile=t) for t in (None, 8))
    ws = plain.mapping(torch.randn(4, w_dim, generator=torch.Generator().manual_seed(2)))
    lo, other = plain.generator.synthesis(ws), ws.flip(0)
    for cascade in (plain, tiled):
        assert (cascade(ws) - cascade.enlarge(lo, other)).abs().max() > 5e-4, "a learnt style, not chance"
        assert (cascade(ws) - cascade.enlarge(lo)).abs().max() > 5e-4
    assert (tiled(ws) - plain(ws)).abs().max() < 1e-5
    assert (tiled.enlarge(lo, other) - plain.enlarge(lo, other)).abs().max() < 1e-5
    assert (projection.down(plain(ws), 2) - lo).abs().max() < 1e-5


def test_real_crops_get_the_neutral_style_and_samples_their_own(
    dataset: Dataset, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainee = _trainee(dataset, base, w_dim=str(read_header(base).z_dim))
    given: list[torch.Tensor | None] = []
    forward = trainee.stage.forward
    monkeypatch.setattr(trainee.stage, "forward", lambda img, w=None: (given.append(w), forward(img, w))[1])
    trainee.step()
    made, still, moved, walk = given
    assert made is not None
    assert walk is not None
    assert [bool(row.any()) for row in made] == [False, False, True, True]
    assert torch.equal(made[2], made[3]), "two crops of one sample"
    assert still is moved is None
    assert torch.equal(walk[0], walk[1])
    assert 0 < (walk[0] - walk[2]).norm() < 0.1 * walk[0].norm()


def test_a_w_of_another_width_or_that_nothing_teaches_is_refused(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    w_dim = read_header(base).z_dim
    with pytest.raises(ConfigError, match=f"gives one of {w_dim}.*Set w_dim to {w_dim}"):
        _run(dataset, tmp_path / "run", 0.004, previous=base, overrides={"w_dim": str(w_dim + 1)})
    with pytest.raises(ConfigError, match="gets none"):
        _run(dataset, tmp_path / "run", 0.004, previous=base, overrides={"w_dim": str(w_dim), "previous_share": "0"})
    assert not (tmp_path / "run").exists()


def test_its_checkpoint_follows_the_base_in_a_cascade(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "run", 0.02, previous=base)
    path = tmp_path / "run" / "G_ema.safetensors"
    header = read_header(path)
    assert (header.arch, header.scale, header.nimg) == ("stage", 2, 20)
    assert "CC0-1.0" in header.licence
    assert dataset.sha256 in header.training_data
    cascade = Cascade(checkpoint.load(base), [checkpoint.load(path)], device="cpu")
    ws = cascade.mapping(torch.randn(1, cascade.generator.z_dim))
    lo = cascade.generator.synthesis(ws)
    assert (projection.down(cascade(ws), 2) - lo).abs().max() < 1e-5


def test_a_run_leaves_numbers_and_pictures(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "run", 0.02, previous=base)
    (run,) = list_runs(tmp_path)
    assert (run.kind, run.fault) == ("stage", "")
    assert {"psnr", "psnr_bicubic", "detail", "shift_levels", "flicker", "l1"} <= run.last.keys()
    assert run.parents["previous"] == fingerprint(base)
    names = {path.name.split("-")[0] for path in (tmp_path / "run" / "pictures").iterdir()}
    assert names == {"held_out", "previous", "walk"}


def test_a_run_draws_its_curves_up_to_what_it_shows(dataset: Dataset, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "run", 0.0)
    with Image.open(tmp_path / "run" / "curves.png") as page:
        first = page.size
    _run(dataset, tmp_path / "run", 0.008)
    with Image.open(tmp_path / "run" / "curves.png") as page:
        assert first[1] < page.height, "panels of the losses came to those of the held-out pictures"


def test_a_stage_after_a_stage_learns_from_the_whole_cascade(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "first", 0.008, previous=base)
    first = tmp_path / "first" / "G_ema.safetensors"
    _run(dataset, tmp_path / "second", 0.008, previous=[base, first])
    assert len(read_run(tmp_path / "second").parents) == 2


def test_the_perceptual_loss_is_there_where_the_features_are(dataset: Dataset, tmp_path: Path) -> None:
    if not efficientnet.installed():
        pytest.skip("the extra with the trained features is not installed")
    _run(dataset, tmp_path / "run", 0.008, features=efficientnet.find_weights())
    assert "perceptual" in read_run(tmp_path / "run").last


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": {"w_dim": "8"}}, "conditioned on w learns it from the previous"),
        ({"overrides": {"crop": "96"}}, "64 px; crops of 96 px, and 2 more .* at most 56"),
        ({"config": "nanno"}, "did you mean 'nano'"),
        ({"scale": 3}, "enlarges by 2 or 4"),
        ({"resume": "maybe"}, "auto or never"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(
    changes: dict, message: str, dataset: Dataset, tmp_path: Path
) -> None:
    options = {"config": "nano", "scale": 2, "device": "cpu"} | changes
    options["overrides"] = TINY | changes.get("overrides", {})
    with pytest.raises(ConfigError, match=message):
        train_stage(dataset.path, tmp_path / "run", kimg=1, **options)
    assert not (tmp_path / "run").exists()


def test_another_runs_state_is_refused_in_one_sentence(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "mine", 0.01)
    save_state(tmp_path / "mine" / STATE_NAME, {"generator.x": torch.zeros(1)}, {"kind": "base", "nimg": 8})
    with pytest.raises(CheckpointError, match="does not fit this run") as told:
        _run(dataset, tmp_path / "mine", 0.02)
    assert "\n" not in str(told.value)


def test_torchrun_is_refused(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    with pytest.raises(ConfigError, match="one process"):
        _run(dataset, tmp_path / "mine", 0.01)


def test_a_folder_with_a_run_is_not_begun_anew(dataset: Dataset, tmp_path: Path) -> None:
    _run(dataset, tmp_path / "run", 0.004)
    with pytest.raises(ConfigError, match="already holds a run"):
        _run(dataset, tmp_path / "run", 0.004, resume="never")
    with pytest.raises(ConfigError, match="gamma"):
        _run(dataset, tmp_path / "run", 0.004, overrides={"gamma": "2"})


@pytest.mark.slow
def test_on_real_pictures_it_soon_beats_the_bicubic_enlargement(shared_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((shared_dir / "data" / "portraits_studio_hires").glob("*.jpg"))[:16]:
        (folder / path.name).write_bytes(path.read_bytes())
    data = make_crops(folder, tmp_path / "crops.safetensors", size=128, per_picture=8)
    changes = TINY | {
        "crop": "64",
        "warm_kimg": "1000",
        "horizon_kimg": "4",
        "noise": "0",
        "steady": "0",
        "held_out": "0.2",
    }
    train_stage(data.path, tmp_path / "run", config="nano", scale=2, kimg=4, device="cpu", overrides=changes)
    last = read_run(tmp_path / "run").last
    assert last["psnr"] > last["psnr_bicubic"] + 0.1
