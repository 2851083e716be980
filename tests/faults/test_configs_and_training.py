"""Configs that are traps, and pictures that training cannot use, by the numbers under which these faults were found."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import restore.training.run  # noqa: F401 - so that its memory is not a config's
from restore.data.cache import open_cache
from restore.errors import FileError
from tests.data.conftest import save, scene
from tests.faults import hostile
from tests.faults.mutations import peak_memory

CONFIG = """
name: tiny
model: {arguments: {widths: [4], blocks: [1]}}
degradation: {name: noise, arguments: {weights: {gaussian: 1.0}}}
data: {crop: 16, held_out: 1, train: [photos], cache: cache}
train: {steps: 1, batch: 1, device: cpu, precision: fp32}
"""
PAIRS = CONFIG.replace("{name: noise, arguments: {weights: {gaussian: 1.0}}}", "{name: pairs}").replace(
    "train: [photos]", "train: [clean], roles: {picture: noisy}"
)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Where the user is: a config and photographs."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        save(tmp_path / "photos" / f"{number}.png", scene(number, 24, 32))
    return tmp_path


# --- 91: configs ---------------------------------------------------------------------------------------------

DEEP = 30_000
TRAPS = {
    "laughs in crop": (
        CONFIG + f"x: 1\nstages: {hostile.laughs()}\n",
        "its aliases stand for more than a config holds",
    ),
    "laughs in name": (f"name: {hostile.laughs()}\n", "its aliases stand for more than a config holds"),
    "laughs in losses": (f"name: a\nobjective: {{losses: {hostile.laughs()}}}\n", "stand for more than a config holds"),
    "chain of aliases": (
        "name: a\nx0: &x0 [1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 3000)),
        "values lie inside values more than 50 deep",
    ),
    "long words": (f"x: &x {'a' * 10_000}\ny: [{', '.join(['*x'] * 1000)}]\n", "stand for more than a config holds"),
    "itself": ("name: &a [*a]\n", "an alias stands for what it is part of"),
    "lists": (f"name: {'[' * DEEP}\n", "values lie inside values more than 50 deep"),
    "maps": ("".join(f"{' ' * n}a:\n" for n in range(600)), "values lie inside values more than 50 deep"),
    "digits": (f"name: a\ndata: {{crop: {'9' * 5000}}}\n", "this is not YAML (Exceeds the limit (4300 digits)"),
    "long": ("# " + "x" * (1 << 18), "is 262,146 bytes, more than the limit of 262,144"),
    "many keys": ("".join(f"a{n}: 1\n" for n in range(25_000)), "there is no setting 'a0'"),
    "model": (CONFIG.replace("model: {", "model: {name: plain_unte, "), "no model is called 'plain_unte'"),
    "argument": (CONFIG.replace("blocks: [1]", "block: [1]"), "model 'plain_unet' has no argument 'block'"),
    "loss": (CONFIG + "objective: {losses: {l7: 1}}\n", "no loss is called 'l7'"),
    "weight": (CONFIG + "objective: {losses: {l1: [1]}}\n", "objective.losses.l1"),
    "noise": (CONFIG.replace("gaussian", "gausian"), "gausian"),
    "crop": (CONFIG.replace("crop: 16", "crop: 100000000000"), "data.crop is 100000000000"),
    "steps": (CONFIG.replace("steps: 1", "steps: 1" + "0" * 400), "train.steps is 1000"),
    "no code": (CONFIG.replace("model: {", "model: {name: gone.py:Net, "), "there is no such file of code"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_91_a_config_is_refused_by_name(restore, here, trap):
    text, words = TRAPS[trap]
    (here / "tiny.yaml").write_text(text)
    before, started = peak_memory(), time.monotonic()
    ran = restore("train", "tiny.yaml")
    assert time.monotonic() - started < 5 and peak_memory() - before < 300 << 20
    assert ran.code == 2 and "tiny.yaml: " in ran.err and words in ran.err, ran.err[:500]
    assert ran.err.count("\n") == 1 and len(ran.err) < 1500 and "unexpected" not in ran.err


@pytest.mark.parametrize("data", [CONFIG.encode("utf-16"), b"name: caf\xe9\n", os.urandom(999), bytes(99)])
def test_91_a_config_that_is_no_text(restore, here, data):
    (here / "tiny.yaml").write_bytes(data)
    ran = restore("train", "tiny.yaml")
    assert ran.code == 2 and "tiny.yaml: this is no" in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_91_a_config_that_is_no_file(restore, here, kind):
    path = here / "tiny.yaml"
    hostile.make_no_file(path, kind)
    ran = restore("train", "tiny.yaml")
    assert ran.code == 2 and "tiny.yaml: cannot read this: it is a " in ran.err


@pytest.mark.parametrize("setting", ["name", "weights"])
@pytest.mark.parametrize("value", ["../../escaped", "/tmp/x", "..", ".", "''", "a/b", "'a\\b'", "x" * 300])
def test_s7_a_name_is_no_way_out_of_the_folder(restore, here, setting, value):
    lines = [line for line in CONFIG.splitlines() if not line.startswith(f"{setting}:")]
    (here / "tiny.yaml").write_text("\n".join([*lines, f"{setting}: {value}"]))
    ran = restore("train", "tiny.yaml")
    assert ran.code == 2 and f"tiny.yaml: {setting} is " in ran.err and "no plain file name" in ran.err
    assert sorted(path.name for path in here.iterdir()) == ["photos", "tiny.yaml"]


# --- 95 and 96: pictures -------------------------------------------------------------------------------------


def write_pairs(here: Path) -> None:
    (here / "tiny.yaml").write_text(PAIRS)
    for number in range(5):
        save(here / "clean" / f"{number}.png", scene(number, 24, 32))
        save(here / "noisy" / f"{number}.png", scene(number + 9, 24, 32))


def test_95b_folders_of_pairs_may_be_relative(restore, here):
    write_pairs(here)
    ran = restore("train", "tiny.yaml")
    assert ran.code == 0, ran.err
    assert "left out" not in ran.err


def test_95_pictures_without_a_partner_are_named(restore, here):
    write_pairs(here)
    save(here / "clean/alone.png", scene(1, 24, 32))
    save(here / "noisy/stray.png", scene(1, 24, 32))
    save(here / "noisy/4.png", scene(1, 24, 36))
    ran = restore("train", "tiny.yaml", "--json")
    assert ran.code == 1 and (here / "runs/tiny/tiny.safetensors").exists()
    for words in ("noisy/stray.png: no clean partner", "clean/alone.png: no damaged partner", "noisy/4.png is 36 x 24"):
        assert f"{here}/{words}" in ran.err and any(f"{here}/{words}" in line for line in ran.json["left_out"])
    assert len(ran.json["left_out"]) == 3


def unreadable(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "damaged":
        path.write_bytes(b"no picture")
    elif kind == "dangling":
        path.symlink_to("nowhere.png")
    else:
        path.symlink_to(path.name)


@pytest.mark.parametrize("kind", ["damaged", "dangling", "loop"])
def test_96_unreadable_pictures_stop_the_training_or_are_named(restore, here, kind):
    (here / "tiny.yaml").write_text(CONFIG)
    unreadable(here / "photos/1.png", kind)
    ran = restore("train", "tiny.yaml")
    assert ran.code == 1 and not (here / "runs/tiny/tiny.safetensors").exists()
    assert "1 of 3 pictures cannot be read, more than the share of 0.01 that may" in ran.err
    assert f"{here}/photos/1.png: " in ran.err and "data.unreadable" in ran.err
    for _ in ("built", "opened again"):
        ran = restore("train", "tiny.yaml", "data.unreadable=0.4", "--json", "--out", f"runs/{_}")
        assert ran.code == 1 and (here / f"runs/{_}/tiny.safetensors").exists(), ran.err
        assert f"warning: left out: {here}/photos/1.png: " in ran.err and len(ran.json["left_out"]) == 1


def test_96_damaged_pairs_are_named_and_listed(restore, here):
    write_pairs(here)
    unreadable(here / "noisy/2.png", "damaged")
    ran = restore("data", "pairs", "noisy", "clean", "--json")
    assert (ran.code, ran.json["pairs"]) == (1, 4)
    assert ran.json["mismatches"][0].startswith("noisy/2.png: is not a picture")
    ran = restore("train", "tiny.yaml", "data.unreadable=0.3")
    assert ran.code == 1 and f"{here}/noisy/2.png: is not a picture" in ran.err


def test_95_an_unreadable_share_is_one(restore, here):
    (here / "tiny.yaml").write_text(CONFIG)
    ran = restore("train", "tiny.yaml", "data.unreadable=7")
    assert ran.code == 2 and "tiny.yaml: data.unreadable is 7.0. Give a share from 0 to 1" in ran.err


# --- folders of runs -----------------------------------------------------------------------------------------


def test_s6_a_folder_that_cannot_be_written_is_told_before_anything_is_read(restore, here, monkeypatch):
    (here / "tiny.yaml").write_text(CONFIG)
    (here / "file").write_bytes(b"")
    monkeypatch.setattr("restore.training.stages.train_stages", None)
    ran = restore("train", "tiny.yaml", "--out", "file/out")
    assert ran.code == 1 and "file/out: cannot write this file (Not a directory)" in ran.err


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"[" * 50_000, b'{"step": "9"}\n', b'{"step": [1]}\n', b"null\n3\n"])
def test_a_damaged_log_is_mended(restore, here, line):
    (here / "tiny.yaml").write_text(CONFIG)
    assert restore("train", "tiny.yaml").code == 0
    log = here / "runs/tiny/log.jsonl"
    before = log.read_bytes()
    log.write_bytes(before + line)
    assert restore("train", "tiny.yaml", "--resume", "-q").code == 0
    assert log.read_bytes().startswith(before) and line not in log.read_bytes()


def test_a_log_that_is_a_device_is_refused(restore, here):
    (here / "tiny.yaml").write_text(CONFIG)
    (here / "runs/tiny").mkdir(parents=True)
    (here / "runs/tiny/log.jsonl").symlink_to("/dev/zero")
    ran = restore("train", "tiny.yaml", "-q")
    assert ran.code == 1 and "runs/tiny/log.jsonl: cannot read this: it is a pipe, socket or device" in ran.err


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x80\x02", b"<html>", "device"])
def test_a_checkpoint_that_is_none_is_refused_by_name(restore, here, damage):
    (here / "tiny.yaml").write_text(CONFIG)
    (here / "runs/tiny").mkdir(parents=True)
    path = here / "runs/tiny/checkpoint_00000001.pt"
    path.symlink_to("/dev/zero") if damage == "device" else path.write_bytes(damage)
    ran = restore("train", "tiny.yaml", "--resume")
    assert ran.code == 1 and f"{path.relative_to(here)}: this checkpoint cannot be read (" in ran.err
    assert ran.err.count("\n") == 1 and "Delete it and start anew" in ran.err


# --- junk where a crop cache should be -----------------------------------------------------------------------

JUNK = (
    b"", b"{", b"[" * 50_000, b"\xff\xfe", b'{"entries": 3}', b"null", b'{"built_from": null, "pixels": "../x"}',
    b"9" * 5000, b'"x"',
)  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
def test_a_damaged_crop_cache_is_built_again(here, junk):
    whole = open_cache([here / "photos"], here / "cache")
    (index,) = (here / "cache").glob("*.json")
    index.write_bytes(junk)
    again = open_cache([here / "photos"], here / "cache")
    assert again.entries == whole.entries and (again.pixels == whole.pixels).all()


@pytest.mark.parametrize(
    "change",
    [
        ('"offset": 0', '"offset": -6'), ('"offset": 0', '"offset": 1e3'), ('"height": 24', '"height": 99999'),
        ('"height": 24', '"height": -24'), ('"width": 32', '"width": null'), ('"deep": false', '"deep": true'),
        ('"pixels": "', '"pixels": "../'), ('"file": 0', '"file": "0"'),
    ],
)  # fmt: skip
def test_a_crop_cache_that_lies_is_built_again(here, change):
    whole = open_cache([here / "photos"], here / "cache")
    (index,) = (here / "cache").glob("*.json")
    text = index.read_text()
    assert change[0] in text
    index.write_text(text.replace(*change))
    assert open_cache([here / "photos"], here / "cache").entries == whole.entries


def test_pixels_of_a_crop_cache_that_are_a_device(here):
    whole = open_cache([here / "photos"], here / "cache")
    (pixels,) = (here / "cache").glob("*.bin")
    pixels.unlink()
    pixels.symlink_to("/dev/zero")
    assert open_cache([here / "photos"], here / "cache").entries == whole.entries


@pytest.mark.parametrize("ending", ["json", "lock"])
def test_a_folder_where_the_crop_cache_goes(here, ending):
    open_cache([here / "photos"], here / "cache")
    (index,) = (here / "cache").glob("*.json")
    index.unlink()
    index.with_suffix(".lock").unlink(missing_ok=True)
    index.with_suffix(f".{ending}").mkdir()
    with pytest.raises(FileError, match=r"cannot write the crop cache .+ set data\.cache to another folder"):
        open_cache([here / "photos"], here / "cache")
