"""`restore denoise --adapt` (once `--fit`): learning first, from a folder or from the picture itself."""

from __future__ import annotations

import pytest

from restore.cli.main import parse
from tests.clips import make, scene, times

from .conftest import write_noisy

AUTO = ("--method", "auto", "--budget", "1s")
LEARN = ("--method", "self-supervised", "--budget", "1s")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path):
    for i in range(2):
        write_noisy(tmp_path / f"photos/{i}.png", i, (100, 120, 3))
    return tmp_path / "photos"


def test_a_folder_is_learned_once(restore, folder, tmp_path):
    first = restore("denoise", folder, tmp_path / "out", *LEARN, "--fit", folder, "-v")
    assert first.code == 0
    assert "learning from 2 pictures by neighbor2neighbor, noise white" in first.err
    assert "before learning: held-out error" in first.err
    assert "  fit: held-out error " in first.err
    again = restore("denoise", folder / "0.png", tmp_path / "0.png", *LEARN, "--fit", folder)
    assert again.code == 0
    assert "learning from" not in again.err
    assert "learned before" in again.err
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "out/0.png").read_bytes()


def test_a_clip_is_learned_from_frames_that_are_spread_over_it(restore, tmp_path):
    path = make(tmp_path / "in.mkv", scene(20, 100, 120, noise=20), codec="ffv1", pixel_format="bgr0").path
    ran = restore("denoise", path, tmp_path / "out.mkv", *LEARN, "--fit")
    assert ran.code == 0 and "learning from 16 pictures by neighbor2neighbor" in ran.err, ran.err
    assert len(times(tmp_path / "out.mkv")) == 20


def test_without_fit_it_learns_from_the_input(restore, folder, home, tmp_path):
    ran = restore("denoise", folder / "0.png", tmp_path / "0.png", *LEARN)
    assert ran.code == 0 and "learning from 1 pictures" in ran.err
    assert len(list((home / "fits").iterdir())) == 1


def test_a_learner_alone_asks_for_learning(restore, folder, tmp_path):
    ran = restore("denoise", folder, tmp_path / "out", *AUTO, "--learner", "noise2void", "-v")
    assert ran.code == 0 and "learning from 2 pictures by noise2void" in ran.err
    wrong = restore("denoise", folder, tmp_path / "x", "--learner", "n2v")
    assert wrong.code == 2 and "noise2void" in wrong.err


def test_quiet_is_quiet(restore, folder, tmp_path):
    ran = restore("denoise", folder / "0.png", tmp_path / "0.png", *LEARN, "--fit", folder, "-q")
    assert (ran.code, ran.err) == (0, "")


def test_a_budget_is_a_time(restore, folder, tmp_path):
    ran = restore("denoise", folder, tmp_path / "out", "--fit", folder, "--budget", "soon")
    assert ran.code == 2
    assert "a budget cannot be 'soon'" in ran.err and "Write it as 90s, 65m or 2h" in ran.err


def test_other_methods_do_not_learn(restore, folder, tmp_path):
    ran = restore("denoise", folder, tmp_path / "out", "--method", "zero-shot", "--fit", folder)
    assert ran.code == 2
    assert "--adapt does not go with --method zero-shot" in ran.err and "--method self-supervised" in ran.err


def test_nothing_to_learn_from(restore, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = restore("denoise", folder, tmp_path / "out", *LEARN, "--fit", tmp_path / "empty")
    assert ran.code == 2
    assert "there is no picture to learn from" in ran.err


@pytest.mark.parametrize(
    ("words", "method", "adapt"),
    [
        ("a b out --adapt c", "self-supervised", "c"),
        ("a b out --adapt=c", "self-supervised", "c"),
        ("a b out --fit c", "self-supervised", "c"),
        ("a b out --adapt", "self-supervised", ["a", "b"]),
        ("a b out --adapt --verbose", "self-supervised", ["a", "b"]),
        ("a b out --method self-supervised", "self-supervised", ["a", "b"]),
        ("a out --budget 5m", "self-supervised", ["a"]),
        ("a out", "network", None),
    ],
)
def test_what_is_learned_from(monkeypatch, tmp_path, words, method, adapt):
    asked = {}

    def loaded(task, method, given):
        asked.update(method=method, adapt=given.get("adapt"))
        raise KeyboardInterrupt

    monkeypatch.setattr("restore.api.loaded", loaded)
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        write_noisy(tmp_path / name / "0.png", 0)
    with pytest.raises(KeyboardInterrupt):
        parse(["denoise", *words.split()]).run()
    assert asked == {"method": method, "adapt": adapt}
