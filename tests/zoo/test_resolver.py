"""Names become files, in a known order, without the network."""

from __future__ import annotations

import datetime
import socket
import sys
from pathlib import Path

import pytest
import torch

from restore.errors import ExitCode, WeightsError
from restore.io.home import home
from restore.models import build
from restore.zoo import resolver
from restore.zoo.card import WeightsCard
from restore.zoo.resolver import available, resolve, verify_all
from restore.zoo.weights import save_weights


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An own weights folder and an own packaged zoo; no network; nothing in the current folder."""
    own, packaged = tmp_path / "home" / "weights", tmp_path / "packaged"
    own.mkdir(parents=True)
    packaged.mkdir()
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(resolver, "PACKAGED", packaged)
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return own, packaged


def write(path: Path) -> Path:
    torch.manual_seed(0)
    arguments = {"widths": [4], "blocks": [1]}
    card = WeightsCard(name=path.stem, task="denoise", summary="", date=datetime.date(2026, 1, 1), licence="CC0")
    save_weights(path, build("plain_unet", **arguments), "plain_unet", arguments, card)
    return path


def test_the_users_folder_comes_before_the_packaged_one(folders):
    own, packaged = folders
    shipped = write(packaged / "denoise.safetensors")
    assert resolve("denoise") == shipped
    newer = write(own / "denoise.safetensors")
    assert resolve("denoise") == newer
    assert available() == {"denoise": newer}


def test_paths_are_taken_at_their_word(folders, tmp_path):
    own, _ = folders
    write(own / "x.safetensors")
    here = write(tmp_path / "x.safetensors")
    assert resolve("x.safetensors") == Path("x.safetensors")
    assert resolve(here) == here
    assert resolve("./x.safetensors").samefile(here)
    assert resolve("x") == own / "x.safetensors"


def test_a_file_named_like_weights_does_not_hide_them(folders, tmp_path):
    shipped = write(folders[1] / "denoise.safetensors")
    (tmp_path / "denoise").write_text("notes")
    assert resolve("denoise") == shipped


def test_absent_weights_name_file_places_and_the_way_out(folders):
    own, packaged = folders
    write(packaged / "denoise.safetensors")
    with pytest.raises(WeightsError) as caught:
        resolve("denoize")
    assert str(caught.value) == (
        f"denoize.safetensors: these weights are not on this machine (looked in {own}, {packaged}). "
        f"Did you mean 'denoise'? Put the file into {own}"
    )
    assert caught.value.exit_code is ExitCode.NOTHING_RAN


def test_absent_paths_name_their_folder(tmp_path):
    with pytest.raises(WeightsError) as caught:
        resolve("runs/last.pth")
    assert f"looked in {tmp_path / 'runs'}" in str(caught.value)
    assert "--method" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"weights, or work without weights: --method rl$"):
        resolve("runs/last.pth", otherwise="or work without weights: --method rl")


def test_verify_all_distinguishes_good_from_bad(folders):
    own, packaged = folders
    write(packaged / "good.safetensors")
    broken = write(own / "broken.safetensors")
    data = bytearray(broken.read_bytes())
    data[-1] ^= 1
    broken.write_bytes(data)
    results = {result.name: result for result in verify_all()}
    good, bad = results["good"], results["broken"]
    assert good.card is not None and good.card.name == "good" and good.problem is None
    assert bad.card is None and "changed or damaged" in str(bad.problem)


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", ".cache/restore"), ("darwin", "Library/Caches/restore"), ("win32", "AppData/Local/restore")],
)
def test_the_default_folder_is_the_platforms(monkeypatch, tmp_path, platform, expected):
    for name in ("RESTORE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert home() == tmp_path / expected


def test_shipped_weights_are_sound(monkeypatch):
    """Whatever lies in the packaged zoo loads, says what it is, and stays small."""
    monkeypatch.setattr(resolver, "PACKAGED", Path(resolver.__file__).parent)
    problems = [str(result.problem) for result in verify_all() if result.problem is not None]
    assert problems == []
    assert sum(path.stat().st_size for path in available().values()) <= 25 << 20


def test_a_file_that_is_no_weights_file_is_not_looked_for_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("words")
    with pytest.raises(WeightsError, match=r"text\.png: this is no weights file\. Weights end in \.safetensors"):
        resolve("text.png")
