"""Checkpoints: what they hold, and that a run survives what happens to it."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tolerance import assert_computed_equal
from toy_training import toy_arguments, toy_data, toy_trainer
from toy_vita_clip import save_toy_clip
from transformers.trainer_utils import rotate_checkpoints
from vita_clip_hf.modeling import adapter_file_vita_clip
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE

from vita_clip_hf.training import checkpoints
from vita_clip_hf.training.checkpoints import FILE_LIST, find_damage, find_last_checkpoint, list_checkpoints


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def drill(tmp_path_factory) -> list[dict]:
    """Runs that were killed, whose disk was full or whose checkpoints were damaged, beside one that was left alone."""
    program = Path(__file__).parents[1] / "checkpoint_drill.py"
    folder = tmp_path_factory.mktemp("drill")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # a fork and OpenMP do not go together
    command = [sys.executable, str(program), str(folder), "--form", "short", "--json", str(folder / "results.jsonl")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (folder / "results.jsonl").is_file(), done.stderr
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("way", ["kill", "write", "disk", "flip"])
def test_whatever_happens_to_a_run_it_goes_on_with_the_same_bits(drill, way):
    cases = [case for case in drill if case["way"] == way]
    assert len(cases) >= 2
    assert [case for case in cases if case["fault"] is not None] == []
    assert {case["resumed"] for case in cases} == {0}


def test_the_drill_does_what_it_says(drill):
    assert {case["ended"] for case in drill if case["way"] in ("kill", "write")} == {-9}
    assert 1 in {case["ended"] for case in drill if case["way"] == "disk"}  # the largest is large enough
    assert any(case["left"][-1:] == ["checkpoint-6"] for case in drill if case["way"] == "write")


def trained(clip, folder, **settings):
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, **settings}
    trainer = toy_trainer(clip, toy_arguments(folder, **settings))
    trainer.train()
    return trainer


def test_a_checkpoint_holds_the_adapter_and_no_base(clip, tmp_path):
    trainer = trained(clip, tmp_path)
    learned = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    size = sum(weight.numel() for weight in learned.values())
    folder = tmp_path / "checkpoint-6"
    assert learned.keys() <= load_file(folder / "adapter_model.safetensors").keys()
    assert (folder / "adapter_model.safetensors").stat().st_size < 4 * size + 10_000
    state = torch.load(folder / "optimizer.pt", weights_only=True)["state"].values()
    assert sum(moment.numel() for moments in state for moment in moments.values()) == 2 * size + len(learned)
    others = ("adapter_model.safetensors", "optimizer.pt")
    rest = sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".py" and path.name not in others)
    assert rest < 40_000
    assert not (folder / "model.safetensors").exists()
    assert find_damage(folder) is None


def test_damage_of_every_kind_is_found(clip, tmp_path):
    trained(clip, tmp_path, max_steps=2)
    folder = tmp_path / "checkpoint-2"
    optimizer = folder / "optimizer.pt"
    content = optimizer.read_bytes()
    optimizer.write_bytes(content[: len(content) // 2])
    assert f"{len(content)} were written" in find_damage(folder)
    optimizer.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "checksum" in find_damage(folder)
    optimizer.unlink()
    assert "optimizer.pt is missing" in find_damage(folder)
    optimizer.write_bytes(content)
    assert find_damage(folder) is None
    (folder / FILE_LIST).unlink()
    assert FILE_LIST in find_damage(folder)


def test_a_truncated_checkpoint_gives_way_to_the_one_before(clip, tmp_path, caplog):
    trained(clip, tmp_path, save_total_limit=2)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-6"]
    os.truncate(tmp_path / "checkpoint-6" / "adapter_model.safetensors", 100)
    assert find_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert "checkpoint-6 is passed over: adapter_model.safetensors has 100 bytes" in caplog.text


def test_resuming_from_a_named_damaged_checkpoint_is_an_error(clip, tmp_path):
    trainer = trained(clip, tmp_path, max_steps=2)
    (tmp_path / "checkpoint-2" / "scheduler.pt").unlink()
    with pytest.raises(OSError, match="pt is missing"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_nothing_to_resume_from_is_an_error(clip, tmp_path):
    with pytest.raises(ValueError, match="no whole checkpoint"):
        toy_trainer(clip, toy_arguments(tmp_path)).train(resume_from_checkpoint=True)


def test_a_full_disk_is_named_and_leaves_the_last_good_checkpoint(clip, tmp_path, monkeypatch):
    save = torch.save

    def save_until_full(value, path, *args, **kwargs):
        if "checkpoint-4" not in str(path):
            return save(value, path, *args, **kwargs)
        save(value, path, *args, **kwargs)
        os.truncate(path, 10)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(torch, "save", save_until_full)
    with pytest.raises(OSError, match=r"checkpoint-4 could not be written.*No space left.*MiB are free.*checkpoint-2"):
        trained(clip, tmp_path, save_total_limit=1)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["checkpoint-2"]
    assert find_damage(tmp_path / "checkpoint-2") is None


def test_leftovers_of_a_killed_run_are_removed(clip, tmp_path):
    leftovers = [tmp_path / ".checkpoint-4-abc", tmp_path / "checkpoint-2"]
    for leftover in (*leftovers, tmp_path / "checkpoint-4"):
        leftover.mkdir(parents=True)
    (tmp_path / "checkpoint-2" / "optimizer.pt").write_bytes(b"x")  # it was being deleted
    trained(clip, tmp_path, max_steps=1)
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_checkpoint_that_is_being_deleted_is_none_any_more(clip, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    delete = shutil.rmtree

    def killed_half_way(folder, *args, **kwargs):
        if Path(folder).name.endswith("checkpoint-2") and Path(folder).exists():
            (Path(folder) / ADAPTER_FILE).unlink()
            raise KilledError
        delete(folder, *args, **kwargs)

    monkeypatch.setattr(checkpoints.shutil, "rmtree", killed_half_way)
    with pytest.raises(KilledError):
        trained(clip, tmp_path, save_total_limit=1)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["checkpoint-4"]
    assert find_damage(tmp_path / "checkpoint-4") is None
    monkeypatch.undo()
    trained(clip, tmp_path, save_total_limit=1)
    assert sorted(path.name for path in tmp_path.glob("*checkpoint-*")) == ["checkpoint-6"]


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [(None, None, 4), (0, None, 4), (3, None, 3), (1, 1, 2), (2, 1, 2), (1, 4, 1)],
)
def test_old_checkpoints_are_deleted_as_transformers_deletes_them(tmp_path, limit, best, kept):
    folders = []
    for library in ("ours", "theirs"):
        run = tmp_path / library
        for number in range(1, 5):
            (run / f"checkpoint-{number}").mkdir(parents=True)
            os.utime(run / f"checkpoint-{number}", (number, number))
        place = str(run / f"checkpoint-{best}") if best else None
        if library == "ours":
            checkpoints.remove_old(run, limit, place)
        else:
            rotate_checkpoints(str(run), limit, place, use_mtime=True)
        folders.append(sorted(os.listdir(run)))
    assert folders[0] == folders[1]
    assert len(folders[0]) == kept


def test_the_file_list_is_written_last(clip, tmp_path, monkeypatch):
    flushed = []
    flush = checkpoints._flush
    monkeypatch.setattr(checkpoints, "_flush", lambda path: (flushed.append(path.name), flush(path)))
    trained(clip, tmp_path, max_steps=2)
    assert flushed[-1] == FILE_LIST
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"} <= set(flushed[:-1])


def test_the_best_adapter_is_loaded_at_the_end(clip, tmp_path):
    settings = {
        "eval_strategy": "steps",
        "eval_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "learning_rate": 0.3,  # so high that the last is not the best
    }
    arguments = toy_arguments(tmp_path, max_steps=6, save_strategy="steps", save_steps=2, **settings)
    trainer = toy_trainer(clip, arguments, eval_dataset=toy_data(6, seed=1))
    trainer.train()
    measured = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    assert trainer.state.best_global_step == min(measured, key=measured.get)
    assert_computed_equal(trainer.evaluate()["eval_loss"], min(measured.values()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "expected an object of files, found a list"),
        ("null", "found a NoneType"),
        ("{}", "does not list trainer_state.json"),
        ('{"/etc/passwd": {"bytes": 1, "crc32": 1}}', "names of files below the folder"),
        ('{"../x": {"bytes": 1, "crc32": 1}}', "names of files below the folder"),
        ('{"a/../../x": {"bytes": 1, "crc32": 1}}', "names of files below the folder"),
        ('{"": {"bytes": 1, "crc32": 1}}', "names of files below the folder"),
        ('{"a\\u0000": {"bytes": 1, "crc32": 1}}', "names of files below the folder"),
        ('{"a": 3}', "expected bytes and crc32 of 'a'"),
        ('{"a": {"bytes": "1", "crc32": 1}}', "expected bytes and crc32 of 'a'"),
        ('{"a": {"bytes": true, "crc32": 1}}', "expected bytes and crc32 of 'a'"),
        ('{"a": {"bytes": 1}}', "expected bytes and crc32 of 'a'"),
        ('{"trainer_state.json": {"bytes": 1e400, "crc32": 1}}', "expected bytes and crc32"),
        ("[" * 100_000, "cannot be read"),
        (" " * 2_000_000, "has 2000000 bytes"),
        ("\xff", "cannot be read"),
    ],
)
def test_an_odd_list_of_files_is_damage_and_no_crash(tmp_path, content, message, caplog):
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    (folder / FILE_LIST).write_bytes(content.encode("latin-1"))
    assert message in find_damage(folder)
    assert find_last_checkpoint(tmp_path) is None
    assert "checkpoint-3 is passed over" in caplog.text


def test_a_folder_in_the_place_of_the_list_of_files_is_damage(tmp_path):
    (tmp_path / FILE_LIST).mkdir()
    assert "cannot be read" in find_damage(tmp_path)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SafetensorError("No space left on device"), "No space left on device"),
        (RuntimeError("unexpected pos 8 vs 4"), "the disk seems to be full .unexpected pos 8 vs 4"),  # torch's
    ],
)
def test_a_full_disk_while_an_adapter_is_written_leaves_the_last_good_checkpoint(
    clip, tmp_path, monkeypatch, error, told
):
    save = adapter_file_vita_clip.save_file

    def save_until_full(tensors, path, *args, **kwargs):
        if (tmp_path / "checkpoint-4").exists():
            raise error
        save(tensors, path, *args, **kwargs)

    monkeypatch.setattr(adapter_file_vita_clip, "save_file", save_until_full)
    with pytest.raises(OSError, match=rf"checkpoint-4 could not be written: {told}.*MiB are free.*checkpoint-2"):
        trained(clip, tmp_path)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == ["checkpoint-2"]
    assert not list(tmp_path.glob(".checkpoint-*"))
    assert find_damage(tmp_path / "checkpoint-2") is None
