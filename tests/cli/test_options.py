"""The command line's words: values, mistakes in one line with the nearest name, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from restore.cli import machine
from restore.cli.main import commands, parse
from restore.errors import ConfigError
from restore.inference.options import parse_crop, parse_memory
from restore.io.options import parse_pixels

MISTAKES = [
    ("denoise a b --methd x", "there is no option --methd. Did you mean '--method'?"),
    ("denoise a --verbos", "there is no option --verbos. Did you mean '--verbose'?"),
    ("denoise a --in-palce=1", "there is no option --in-palce. Did you mean '--in-place'?"),
    ("denoise a -x", "there is no option -x. See restore --help"),
    ("denoise a --method zeroshot", "--method cannot be 'zeroshot'. Did you mean 'zero-shot'?"),
    ("denoise a --preset hi", "--preset cannot be 'hi'. Choose from fast, quality"),
    ("denoise a --tile x", "--tile cannot be 'x'. It is a whole number, 16 or more"),
    ("denoise a --tile 1.5", "--tile cannot be '1.5'. It is a whole number, 16 or more"),
    ("denoise a --strength 2", "--strength cannot be '2'. It is a number, from 0 to 1"),
    ("denoise a --strength nan", "--strength cannot be 'nan'. It is a number, from 0 to 1"),
    ("denoise a --quality 101", "--quality cannot be '101'. It is a whole number, from 1 to 100"),
    ("denoise a --crop 1,2,3", "--crop cannot be '1,2,3'. Write it as x,y,width,height"),
    ("denoise a --crop 1,2,3,0", "--crop cannot be '1,2,3,0'. Write it as x,y,width,height"),
    ("denoise a --max-memory 5X", "--max-memory cannot be '5X'. Write it as 4G, 512M or 80%"),
    ("denoise a --max-pixels many", "--max-pixels cannot be 'many'. Write it as 400M or 400000000"),
    ("denoise a --pd 9", "--pd cannot be '9'. Use auto, 1 (none), 2, 3 …"),
    ("denoise a --tile", "Missing value for argument '--tile'"),
    ("denois a b", "there is no command 'denois'. Did you mean 'denoise'?"),
    ("--vers", "there is no option --vers. A command comes first; see restore --help"),
    ("doctor x", "unexpected argument 'x'. See restore --help"),
    ("", f"Expected one of {{{', '.join(commands())}}}. See restore --help"),
]


@pytest.mark.parametrize(("words", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(restore, words, says):
    ran = restore(*words.split())
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"restore: error: {says}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "setting",
    [{"PYTHONIOENCODING": "ascii"}, {"FORCE_COLOR": "1"}, {"COLUMNS": "40"}, {"COLUMNS": "300"}],
    ids=str,
)
def test_a_mistake_reads_the_same_on_any_terminal(setting):
    command = [sys.executable, "-m", "restore", "denoise", "a", "--tile"]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | setting)
    says = "Missing value for argument '--tile'. Expected 1 values. See restore --help"
    assert (ran.returncode, ran.stderr) == (2, f"restore: error: {says}\n")


def test_a_mistake_is_json_where_json_was_asked_for(restore):
    ran = restore("denoise", "a.png", "--tile", "x", "--json")
    assert (ran.code, ran.json["exit_code"], ran.json["error"]["code"]) == (2, 2, "E_CONFIG")


def test_a_picture_without_a_command_is_understood(restore, tmp_path):
    (tmp_path / "a.png").touch()
    assert f"Try: restore denoise {tmp_path / 'a.png'}" in restore(tmp_path / "a.png").err


def test_paths_and_options_mix_freely_and_a_double_dash_ends_options():
    command = parse(["denoise", "-v", "a.png", "--tile=128", "--method", "classical", "b.png", "--", "-c.png"])
    assert command.paths == ("a.png", "b.png", "-c.png")
    assert (command.running.tile, command.method, command.report.verbose) == (128, "classical", True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4G", 4 << 30), ("512M", 512 << 20), ("1.5g", 3 << 29), ("4GiB", 4 << 30), ("1000", 1000), ("80%", 0.8)],
)
def test_memory_sizes(text, value):
    assert parse_memory(text) == value
    assert type(parse_memory(text)) is type(value)


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1G", "G", "", "4 G G", "1e9"])
def test_memory_sizes_refused(text):
    with pytest.raises(ConfigError, match="--max-memory cannot be"):
        parse_memory(text)


@pytest.mark.parametrize(("text", "value"), [("400M", 400_000_000), ("2g", 2 * 10**9), ("12", 12), ("1.5k", 1500)])
def test_pixel_counts(text, value):
    assert parse_pixels(text) == value


def test_crop():
    assert parse_crop("1, 2,30,40") == (1, 2, 30, 40)


class TestCores:
    """Cores are those of the affinity mask, hardware threads counted once, capped by the container's quota."""

    @pytest.fixture
    def box(self, tmp_path, monkeypatch):
        for cpu, core in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
            folder = tmp_path / f"cpu{cpu}/topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(core)
        monkeypatch.setattr(machine, "_CPUS", tmp_path)
        monkeypatch.setattr(machine, "_CGROUP", tmp_path)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
        return tmp_path

    def test_two_threads_of_a_core_count_once(self, box):
        assert machine.usable_cores() == 2

    def test_affinity(self, box, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3}, raising=False)
        assert machine.usable_cores() == 1

    @pytest.mark.parametrize(("quota", "cores"), [("50000 100000", 1), ("150000 100000", 2), ("max 100000", 2)])
    def test_container_quota_v2(self, box, quota, cores):
        (box / "cpu.max").write_text(quota + "\n")
        assert machine.usable_cores() == cores

    @pytest.mark.parametrize(("quota", "cores"), [("20000", 1), ("-1", 2)])
    def test_container_quota_v1(self, box, quota, cores):
        (box / "cpu").mkdir()
        (box / "cpu/cpu.cfs_quota_us").write_text(quota)
        (box / "cpu/cpu.cfs_period_us").write_text("100000")
        assert machine.usable_cores() == cores
