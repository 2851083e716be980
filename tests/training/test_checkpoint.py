from __future__ import annotations

import os
import pickle

import pytest
import torch

from restore.errors import FileError
from restore.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state(step: int) -> dict:
    return {"progress": {"step": step}, "facts": {"machine": "this"}}


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path):
    for step in (5, 100, 20):
        save_checkpoint(tmp_path, step, state(step))
    assert names(tmp_path) == ["checkpoint_00000020.pt", "checkpoint_00000100.pt"]
    path, read = load_checkpoint(tmp_path)
    assert (path.name, read) == ("checkpoint_00000100.pt", state(100))


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, {"step": 1})

    def fail(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(FileError, match=r"checkpoint_00000002\.pt.*No space left.*Free some space"):
        save_checkpoint(tmp_path, 2, {"step": 2})
    assert names(tmp_path) == ["checkpoint_00000001.pt"]


def test_what_a_kill_left_behind_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    (tmp_path / ".checkpoint_00000002.pt.0a0b0c0d.partial").write_bytes(b"half")
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint_00000001.pt"]


@pytest.mark.parametrize("left", [0, 10, 500])
def test_a_truncated_checkpoint_is_told_with_the_one_before(tmp_path, left):
    for step in (1, 2):
        newest = save_checkpoint(tmp_path, step, state(step) | {"weights": torch.ones(1000)})
    os.truncate(newest, left)
    with pytest.raises(
        FileError, match=r"_00000002\.pt: this checkpoint cannot be read \(.+ from checkpoint_00000001\.pt"
    ):
        load_checkpoint(tmp_path)
    newest.unlink()
    assert load_checkpoint(tmp_path)[0].name == "checkpoint_00000001.pt"
    os.truncate(tmp_path / "checkpoint_00000001.pt", left)
    with pytest.raises(FileError, match="start anew"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("held", [[], {}, {"progress": 3, "facts": {}}, {"progress": {"steps": 3}, "facts": {}}])
def test_what_is_no_checkpoint_is_refused(tmp_path, held):
    save_checkpoint(tmp_path, 1, held)
    with pytest.raises(FileError, match=r"checkpoint_00000001\.pt: this is no checkpoint of a training .+Delete it"):
        load_checkpoint(tmp_path)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("run-by-a-checkpoint",)


@pytest.mark.parametrize("write", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write({"step": Evil()}, tmp_path / "checkpoint_00000001.pt")
    with pytest.raises(FileError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert names(tmp_path) == ["checkpoint_00000001.pt"]
