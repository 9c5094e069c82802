"""Runs are folders: written by one process, read by many, whole after a kill, damaged ones listed and not fatal."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from installation.errors import ConfigError, OutputError
from installation.files import fingerprint
from installation.models import checkpoint, random_weights
from installation.training import run_report, runs
from installation.training.judge.judgement import Judgement, Number, beside
from installation.training.run_info import list_runs, read_run
from installation.training.runs import Run

CONFIG = {"seed": 1, "channels": (16, 8), "gamma": 0.05}


def begin(root: Path, name: str = "first", **changes: object) -> Run:
    config = {**CONFIG, **changes}
    return Run.begin(root, "base", name, config, dataset_sha256="d" * 64, parents={"warm_start": "p" * 64})


def judgement(q: float, kit: str = "k" * 64, nimg: int = 1000, subject: str = "portraits") -> Judgement:
    halves = tuple(q + 0.1 * (-1) ** (i + round(1000 * q)) for i in range(8))
    return Judgement(kit, "base", subject, "c" * 64, nimg, {"psi": 1.0}, {"q": Number.of(q, halves)}, "2026-01-01")


def test_a_run_says_what_was_decided(tmp_path: Path) -> None:
    with begin(tmp_path):
        pass
    said = json.loads((tmp_path / "first" / "run.json").read_text())
    assert said["config"] == {"seed": 1, "channels": [16, 8], "gamma": 0.05}
    assert said["dataset_sha256"] == "d" * 64
    assert said["parents"] == {"warm_start": "p" * 64}
    assert said["code"].count("+") == 1
    assert said["machine"]["device"] == "cpu"
    assert said["started"]


def test_numbers_come_back_as_they_were_logged(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(100, loss_g=1.5, loss_d=0.5)
        run.log(200, loss_g=1.25)
    (info,) = list_runs(tmp_path)
    assert info.nimg == 200
    assert info.last == {"loss_g": 1.25, "loss_d": 0.5}


def test_a_number_that_is_not_finite_is_kept_as_none(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(100, loss=float("nan"))
    assert read_run(run.folder).rows[0]["loss"] is None


def test_the_same_command_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(100, loss=1.0)
    before = (run.folder / "run.json").read_bytes()
    with begin(tmp_path) as run:
        run.log(200, loss=0.5)
    assert (run.folder / "run.json").read_bytes() == before
    assert [row["nimg"] for row in read_run(run.folder).rows] == [100, 200]


def test_another_config_is_refused_and_every_difference_named(tmp_path: Path) -> None:
    begin(tmp_path).close()
    with pytest.raises(ConfigError, match=r"extra is nothing, not 2; gamma is 0\.05, not 0\.1"):
        begin(tmp_path, gamma=0.1, extra=2)


def test_a_run_that_goes_on_keeps_its_parents_whatever_became_of_them(tmp_path: Path) -> None:
    begin(tmp_path).close()
    with Run.begin(tmp_path, "base", "first", CONFIG, dataset_sha256="d" * 64, parents=None):
        pass
    assert read_run(tmp_path / "first").parents == {"warm_start": "p" * 64}
    with pytest.raises(ConfigError, match="warm_start is another network now"):
        Run.begin(tmp_path, "base", "first", CONFIG, dataset_sha256="d" * 64, parents={"warm_start": "q" * 64})


def test_a_beginning_from_which_nothing_came_binds_nobody(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too wide"), begin(tmp_path):
        raise ConfigError("too wide")
    begin(tmp_path, gamma=0.1).close()
    with pytest.raises(ConfigError, match="too wide"), begin(tmp_path, gamma=0.1):
        raise ConfigError("too wide")
    assert read_run(tmp_path / "first").config["gamma"] == 0.1


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("mine")
    with pytest.raises(OutputError, match="Name a folder"):
        begin(tmp_path)
    assert (tmp_path / "first").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "con:1", "x" * 65, "dot."])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        begin(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JSON"):
        begin(tmp_path, path=tmp_path)


def test_a_second_process_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        from pathlib import Path
        from installation.errors import OutputError
        from installation.training.runs import Run
        try:
            Run.begin(Path({str(tmp_path)!r}), "base", "first", {CONFIG!r}, dataset_sha256="d" * 64,
                      parents={{"warm_start": "p" * 64}})
        except OutputError as error:
            print(error.what)
    """)
    with begin(tmp_path) as run:
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert read_run(run.folder).running
    assert said.stdout.strip() == "another process is writing this run"
    assert not read_run(run.folder).running


def test_a_line_cut_short_is_passed_over_and_the_next_one_is_whole(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.log(100, loss=1.0)
    with (run.folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"nimg": 200, "lo')
    assert read_run(run.folder).nimg == 100
    with begin(tmp_path) as run:
        run.log(300, loss=0.5)
    assert [row["nimg"] for row in read_run(run.folder).rows] == [100, 300]


def test_what_came_after_the_state_a_run_went_back_to_is_void(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        for nimg in (100, 200, 300):
            run.log(nimg, loss=float(nimg))
        run.log(200, loss=7.0)
    rows = read_run(run.folder).rows
    assert [(row["nimg"], row["loss"]) for row in rows] == [(100, 100.0), (200, 200.0), (200, 7.0)]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "base"}', '{"format": 99, "kind": 1}'])
def test_a_damaged_run_is_listed_as_damaged(tmp_path: Path, text: str) -> None:
    begin(tmp_path, "good").close()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text(text)
    good, bad = list_runs(tmp_path)
    assert (good.name, good.fault) == ("good", "")
    assert bad.name == "bad"
    assert "run.json" in bad.fault
    assert "damaged" in run_report.as_text(run_report.LIST_HEADS, run_report.list_rows([good, bad]))


def test_a_run_that_lost_its_run_json_is_listed_and_says_so(tmp_path: Path) -> None:
    with begin(tmp_path, "first") as run:
        run.log(1000, loss=0.5)
    (tmp_path / "first/run.json").unlink()
    (found,) = list_runs(tmp_path)
    assert "has no run.json" in found.fault


def test_a_damaged_run_is_not_begun_again(tmp_path: Path) -> None:
    begin(tmp_path).close()
    (tmp_path / "first" / "run.json").write_text("{")
    with pytest.raises(OutputError, match="damaged"):
        begin(tmp_path)


def test_no_folder_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []


def test_a_full_disk_is_one_clear_error_and_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with begin(tmp_path) as run:
        run.log(100, loss=1.0)
        opened = Path.open

        def full(path: Path, *args: object, **kwargs: object) -> object:
            if path.name == "metrics.jsonl":
                raise OSError(28, "No space left on device")
            return opened(path, *args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]

        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(OutputError, match="No space left"):
            run.log(200, loss=0.5)
        monkeypatch.undo()
    assert read_run(run.folder).nimg == 100


def test_a_picture_is_a_png_by_name_and_nimg(tmp_path: Path) -> None:
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    with begin(tmp_path) as run:
        path = run.picture("samples", frame, 12_000)
    assert path.relative_to(run.folder).as_posix() == "pictures/samples-0000012000.png"
    assert np.array_equal(np.asarray(Image.open(path)), frame)


def test_tensorboard_gets_the_numbers_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Board:
        seen: list[tuple[str, float, int]] = []  # noqa: RUF012

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            self.seen.append((tag, scalar_value, global_step))

        def flush(self) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(runs, "_tensorboard", lambda folder: Board())
    with begin(tmp_path) as run:
        run.log(100, loss__g=1.0, bad=float("inf"))
    assert Board.seen == [("loss/g", 1.0, 100)]


@pytest.mark.parametrize("fails", ["add_scalar", "flush", "close"])
def test_a_tensorboard_that_stumbles_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    class Board:
        def __getattr__(self, name: str) -> Callable[..., None]:
            def act(*args: object) -> None:
                if name == fails:
                    raise OSError(errno.ENOSPC, "No space left on device")

            return act

    monkeypatch.setattr(runs, "_tensorboard", lambda folder: Board())
    with begin(tmp_path) as run:
        run.log(100, loss=1.0)
        run.log(200, loss=0.5)
    assert [row["loss"] for row in read_run(run.folder).rows] == [1.0, 0.5]
    assert caplog.text.count("No space left on device") == 1
    begin(tmp_path).close()


def test_the_datasets_manifest_is_on_record_and_may_change(tmp_path: Path) -> None:
    told: dict[str, Any] = {"dataset_sha256": "d" * 64, "parents": {}}
    Run.begin(tmp_path, "base", "first", CONFIG, manifest_sha256="m" * 64, **told).close()
    assert json.loads((tmp_path / "first" / "run.json").read_text())["manifest_sha256"] == "m" * 64
    Run.begin(tmp_path, "base", "first", CONFIG, manifest_sha256="n" * 64, **told).close()
    assert ("its manifest", "m" * 64) in run_report.show_rows(read_run(tmp_path / "first"))


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"nimg": 2000, "loss": ' + b"9" * 400 + b"}"], ids=["nested", "endless"]
)
def test_a_line_that_no_trainer_wrote_hides_no_run(tmp_path: Path, line: bytes) -> None:
    with begin(tmp_path, "first") as run:
        run.log(1000, loss=0.5)
    with (tmp_path / "first/metrics.jsonl").open("ab") as file:
        file.write(line + b"\n")
    (found,) = list_runs(tmp_path)
    assert (found.fault, found.rows[0]["loss"]) == ("", 0.5)
    assert all("loss" not in row for row in found.rows[1:])
    run_report.show_rows(found)


def test_a_damaged_judgement_does_not_hide_its_run(tmp_path: Path) -> None:
    judged(tmp_path, "a", 40.0)
    (tmp_path / "a" / "other.kkkkkkkk.judgement.json").write_text("{")
    run = read_run(tmp_path / "a")
    assert (run.fault, len(run.judgements)) == ("", 1)
    assert any(heading == "damaged judgement" and "other" in text for heading, text in run_report.show_rows(run))


def judged(root: Path, name: str, q: float, kit: str = "k" * 64, **changes: object) -> None:
    with begin(root, name, **changes) as run:
        run.log(1000, loss=0.5)
    judgement(q, kit, subject="G").write(beside(run.folder / "network.safetensors", kit))


def test_runs_side_by_side_show_what_differs_and_which_is_better(tmp_path: Path) -> None:
    judged(tmp_path, "a", 40.0, gamma=0.05)
    judged(tmp_path, "b", 45.0, gamma=0.1)
    judged(tmp_path, "c", 40.001, gamma=0.05)
    begin(tmp_path, "d", gamma=0.05).close()
    compared = run_report.compare(list_runs(tmp_path))
    assert compared.config == (("gamma", "0.05", "0.1", "0.05", "0.05"),)
    assert compared.numbers == (("loss", "0.5", "0.5", "0.5", "–"),)
    said = {(a, b): verdicts[0].text for a, b, verdicts in compared.verdicts}
    assert said == {("a", "b"): "b is better", ("a", "c"): "no difference"}
    assert compared.unjudged == ("d",)
    text = run_report.comparison_text(compared)
    assert "b is better" in text
    assert "no difference" in text
    assert "not judged: d" in text


def test_runs_judged_with_different_kits_are_refused(tmp_path: Path) -> None:
    judged(tmp_path, "a", 40.0, "1" * 64)
    judged(tmp_path, "b", 40.0, "2" * 64)
    with pytest.raises(ConfigError, match="different kits"):
        run_report.compare(list_runs(tmp_path))


def test_of_several_kits_the_one_that_judged_all_counts(tmp_path: Path) -> None:
    judged(tmp_path, "a", 40.0, "1" * 64)
    judged(tmp_path, "a", 10.0, "2" * 64)
    judged(tmp_path, "b", 60.0, "1" * 64)
    compared = run_report.compare(list_runs(tmp_path))
    assert compared.kit == "1" * 64
    assert compared.judged[0] == ("Q", "40 ± 0.11", "60 ± 0.11")


def test_runs_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    runs = []
    for place, q in (("x", 40.0), ("y", 45.0)):
        judged(tmp_path / place, "same", q)
        runs.append(read_run(tmp_path / place / "same"))
    (_, other, (q, *_)) = run_report.compare(runs).verdicts[0]
    assert other == str(tmp_path / "y" / "same")
    assert q.text == f"{other} is better"


def test_the_newest_checkpoint_s_judgement_counts(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        for nimg, q in ((1000, 30.0), (3000, 50.0), (2000, 40.0)):
            judgement(q, nimg=nimg).write(beside(run.folder / f"network-{nimg}.safetensors", "k" * 64))
    newest = read_run(run.folder).judgement
    assert newest is not None
    assert newest.q.value == 50.0


def judged_and_trained_on(root: Path, name: str, nimg: int) -> Path:
    """The folder of a run whose network was judged at 200 images, Q 40, and has seen nimg now."""
    network = random_weights.dcgan()
    with begin(root, name) as run:
        run.log(nimg, loss=0.5)
    path = run.folder / runs.EXPORT_NAME
    for seen in dict.fromkeys((200, nimg)):
        checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name=name, nimg=seen))
        if seen == 200:
            replace(judgement(40.0, nimg=200), sha256=fingerprint(path)).write(beside(path, "k" * 64))
    return run.folder


def test_a_score_says_at_how_many_images_it_was_given_and_when_the_network_is_another_now(tmp_path: Path) -> None:
    judged_and_trained_on(tmp_path, "on", 1000)
    judged_and_trained_on(tmp_path, "still", 200)
    on, still = found = list_runs(tmp_path)
    at = [row[run_report.LIST_HEADS.index("judged at")] for row in run_report.list_rows(found)]
    assert at == ["0.2 kimg; now 1 kimg", "0.2 kimg"]
    for run, said in ((on, "0.2 kimg; now 1 kimg"), (still, "0.2 kimg")):
        assert ("judged at", said) in run_report.show_rows(run)
    compared = run_report.compare(found)
    assert compared.judged_at == ("0.2 kimg; now 1 kimg", "0.2 kimg")
    assert "0.2 kimg; now 1 kimg" in run_report.comparison_text(compared)


def test_a_network_replaced_by_another_of_as_many_images_is_another_and_one_that_is_gone_is_none(
    tmp_path: Path,
) -> None:
    path = judged_and_trained_on(tmp_path, "a", 200) / runs.EXPORT_NAME
    network = random_weights.dcgan()
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name="theirs", nimg=200))
    at = run_report.LIST_HEADS.index("judged at")
    assert run_report.list_rows(list_runs(tmp_path))[0][at] == "0.2 kimg; now another"
    path.write_bytes(b"cut short")
    assert run_report.list_rows(list_runs(tmp_path))[0][at] == "0.2 kimg"
    path.unlink()
    assert run_report.list_rows(list_runs(tmp_path))[0][at] == "0.2 kimg"


def test_curves_are_drawn_for_every_number_of_every_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with begin(tmp_path, name) as run:
            for nimg in range(0, 5000, 100):
                run.log(nimg, loss_g=np.sin(nimg / 500), loss_d=1.0)
    path = run_report.write_curves(list_runs(tmp_path), tmp_path / "curves.png")
    picture = np.asarray(Image.open(path))
    assert picture.shape == (224, 840, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3


def test_curves_of_a_run_without_numbers_are_an_error(tmp_path: Path) -> None:
    begin(tmp_path).close()
    with pytest.raises(OutputError, match="no numbers"):
        run_report.write_curves(list_runs(tmp_path), tmp_path / "curves.png")
