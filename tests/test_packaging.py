"""What a wheel and an sdist hold, against git's list of files."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from restore.training.config import PACKAGED

ROOT = Path(__file__).resolve().parents[1]
SDIST = ("restore", "configs", "tests", "docs", "examples", "tools", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE",
         "pyproject.toml")  # fmt: skip

if not (ROOT / ".git").exists():
    pytest.skip("not a git checkout", allow_module_level=True)


def git(*words: str, text: str = "") -> list[str]:
    ran = subprocess.run(["git", "-C", str(ROOT), *words], input=text, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr  # 1: check-ignore knows none of them
    return ran.stdout.splitlines()


def tracked(*folders: str) -> set[str]:
    """Files of the working tree that git knows or would take."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard", *folders)
    return {path for path in listed if (ROOT / path).is_file()}


def in_wheel() -> set[str]:
    return tracked("restore") | {f"restore/{path}" for path in tracked("configs")}


def test_what_travels_is_chosen():
    """Everything below restore and configs; what .gitignore names would be left out by the build."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["restore"], "force-include": {"configs": "restore/configs"}}
    expected = in_wheel()
    assert git("check-ignore", "--no-index", "--stdin", text="\n".join(sorted(expected))) == []
    for path in (
        "restore/py.typed", "restore/zoo/denoise.safetensors", "restore/analysis/effective.safetensors",
        "restore/metrics/naturalness.safetensors", "restore/configs/deconv/wiener_unet.yaml", "restore/cli/main.py",
    ):  # fmt: skip
        assert path in expected
    assert not [path for path in tracked("configs") if not path.endswith(".yaml")]


def test_a_checkout_reads_its_own_configs():
    assert PACKAGED == ROOT / "configs" and not (ROOT / "restore" / "configs").exists()


def test_the_wheel_holds_what_git_lists(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    built = next(iter(wheel.build(directory=str(tmp_path), versions=["standard"])))
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
    assert {name for name in names if ".dist-info/" not in name} == in_wheel()
    for text in ("LICENSE", "NOTICE"):
        assert any(name.endswith(f".dist-info/licenses/{text}") for name in names)


def test_the_sdist_holds_what_git_lists(tmp_path):
    sdist = pytest.importorskip("hatchling.builders.sdist").SdistBuilder(str(ROOT))
    built = next(iter(sdist.build(directory=str(tmp_path))))
    with tarfile.open(built) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert names - {"PKG-INFO", ".gitignore"} == tracked(*SDIST)
