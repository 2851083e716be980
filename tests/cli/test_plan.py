"""From paths to jobs: one or several inputs and outputs, files, folders, sequences; what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from restore.cli.plan import NothingToDoError, plan_work
from restore.errors import ConfigError, FileError
from restore.models.spec import Output

MAP = Output("uncertainty", "uncertainty", channels=1, mixes=False)
TWO = (Output(), MAP)
PARTS = (Output("transmission", "T"), Output("reflection", "R"))
PAIR = ("first", "second")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def plan(*paths: str, in_place=False, compare=False, **options):
    return plan_work(paths, "denoised", in_place=in_place, compare=compare, **options)


def problems(made):
    """Why jobs of a plan cannot be done, by their sources; the only one of a plan is raised."""
    try:
        made, _ = made.checked()
    except FileError as error:
        return {"the only one": str(error)}
    return {job.source.as_posix(): str(job.problem) for job in made.jobs() if job.problem is not None}


def targets(made):
    return [{name: path.as_posix() for name, path in job.targets.items()} for job in made.jobs()]


# --- outputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "outputs", "expected"),
    [
        (("a.jpg",), TWO, {"result": "a_denoised.jpg", "uncertainty": "a_denoised_uncertainty.jpg"}),
        (("a.jpg", "b.png"), TWO, {"result": "b.png", "uncertainty": "b_uncertainty.png"}),
        (("a.jpg", "out/"), TWO, {"result": "out/a.jpg", "uncertainty": "out/a_uncertainty.jpg"}),
        (("a.jpg", "b.png"), PARTS, {"transmission": "b_T.png", "reflection": "b_R.png"}),
        (("a.jpg",), (Output(),), {"result": "a_denoised.jpg"}),
    ],
)
def test_outputs_get_their_names_from_the_main_one(paths, outputs, expected):
    touch("a.jpg")
    made = plan(*paths, outputs=outputs)
    assert targets(made) == [expected] and made.checked()[1] == 1
    (job,) = made.jobs()
    assert list(job.targets) == [output.name for output in outputs] and job.main == outputs[0].name
    assert job.names == ("a.jpg",) and not job.sequence


def test_outputs_in_a_folder_and_what_can_only_be_read():
    touch("in/a.png", "in/sub/b.heic", "in/notes.txt")
    made = plan("in", "out", outputs=TWO, compare=True)
    assert made.checked()[1] == 2
    jobs = list(made.jobs())
    assert [job.skip for job in jobs] == ["", "not a picture's extension", ""]
    assert jobs[1].target == jobs[1].source and jobs[1].targets == {}
    assert jobs[2].outputs == {"result": "sub/b.png", "uncertainty": "sub/b_uncertainty.png"}
    assert jobs[2].target == Path("out/sub/b.png") and jobs[2].compare == Path("out/sub/b_compare.png")
    assert made.folder == Path("out")


def test_an_extra_output_may_have_its_own_path():
    touch("a.png", "in/b.png", "c.png")
    made = plan("a.png", "b.png", outputs=TWO, extra_paths={"uncertainty": "maps/u.tif"})
    assert targets(made) == [{"result": "b.png", "uncertainty": "maps/u.tif"}] and made.checked()[1] == 1
    for paths in (("in", "out"), ("a.png", "c.png", "out/")):
        with pytest.raises(ConfigError, match=r"--uncertainty u\.tif is for one picture.*Give the option without"):
            plan(*paths, outputs=TWO, extra_paths={"uncertainty": "u.tif"})
    with pytest.raises(ConfigError, match="there is no output reflection"):
        plan("a.png", "b.png", outputs=TWO, extra_paths={"reflection": "u.tif"})


def test_in_place_the_other_outputs_lie_beside():
    touch("in/a.png", "in/b.png")
    made = plan("in", in_place=True, outputs=TWO)
    assert made.checked()[1] == 2 and made.folder == Path("in")
    assert targets(made)[0] == {"result": "in/a.png", "uncertainty": "in/a_uncertainty.png"}
    assert all(job.in_place for job in made.jobs())
    touch("in/a_uncertainty.png")
    said = (
        "in/a_uncertainty.png: two pictures would be written here, in/a.png and in/a_uncertainty.png. "
        "Rename one of them, or do them in two runs"
    )
    assert problems(made) == {"in/a.png": said, "in/a_uncertainty.png": said}, "and in/b.png is done"
    with pytest.raises(ConfigError, match="none of the results replaces the picture"):
        plan("in", in_place=True, outputs=PARTS)


@pytest.mark.parametrize(
    ("files", "paths", "options", "clash"),
    [
        (["in/a.png", "in/a_uncertainty.png"], ("in", "out"), {}, "out/a_uncertainty.png"),
        (["in/a.png", "in/A_Uncertainty.PNG"], ("in", "out"), {}, "out/a_uncertainty.png"),
        (["a.png"], ("a.png", "b.png"), {"extra_paths": {"uncertainty": "b.png"}}, "b.png"),
        (
            ["a.png"],
            ("a.png", "b.png"),
            {"extra_paths": {"uncertainty": "b_compare.png"}, "compare": True},
            "b_compare",
        ),
        (["in/a.png", "in/a.gif"], ("in", "out"), {}, "out/a.png"),
    ],
)
def test_two_outputs_for_one_file_are_refused(files, paths, options, clash):
    touch(*files, "in/other.png")
    said = problems(plan(*paths, outputs=TWO, **options))
    assert len(said) == len(files)
    what = "two pictures" if len(files) > 1 else "two outputs of one picture"
    assert all(f"{what} would be written here" in text and clash.lower() in text.lower() for text in said.values())


MEETING = [
    (["in/caf\u00e9.png", "in/cafe\u0301.png"], r"in/caf\xe9.png and in/cafe\u0301.png"),
    (["in/a.gif", "in/a.png"], "in/a.gif and in/a.png"),
    (["in/B.png", "in/b.PNG"], "in/B.png and in/b.PNG"),
    (["in/Stra\u00dfe.png", "in/strasse.png"], "in/Stra\u00dfe.png and in/strasse.png"),
    (["in/A/x.png", "in/a/X.png"], "in/A/x.png and in/a/X.png"),
    (["in/\u00e9/sub/x.png", "in/e\u0301/sub/x.png"], r"in/\xe9/sub/x.png and in/e\u0301/sub/x.png"),
]


@pytest.mark.parametrize(("files", "words"), MEETING)
def test_names_that_would_meet_fail_alone_and_are_told_apart(files, words):
    others = ["in/0.png", "in/b/other.png", "in/z/z.png"]
    touch(*files, *others)
    made = plan("in", "out")
    said = problems(made)
    assert set(said) == set(files)
    for text in said.values():
        one, other = sorted(words.split(" and "))
        assert f"two pictures would be written here, {one} and {other}. Rename one of them" in text or (
            f"two pictures would be written here, {other} and {one}. Rename one of them" in text
        )
    made, total = made.checked()
    done = [job.source.as_posix() for job in made.jobs() if job.problem is None]
    assert total == 5 and sorted(done) == others


def test_folders_that_meet_do_no_harm_where_their_files_do_not():
    touch("in/A/x.png", "in/a/y.png", "one/p.png", "One/p.png", "two/q.png")
    assert problems(plan("in", "out")) == {}
    said = problems(plan("one", "One", "two", "out"))
    assert set(said) == {"one/p.png", "One/p.png"}
    assert problems(plan("in", in_place=True)) == {}, "what lies there already has met nothing"


@pytest.mark.parametrize("alias", ["same", "hardlink", "symlink"])
@pytest.mark.parametrize("which", ["result", "uncertainty"])
@pytest.mark.parametrize("victim", ["a.png", "b.png"])
def test_no_output_may_be_an_input(alias, which, victim):
    touch("a.png", "b.png")
    out = victim if alias == "same" else "link.png"
    if alias == "hardlink":
        os.link(victim, out)
    elif alias == "symlink":
        Path(out).symlink_to(victim)
    extra = {"extra_paths": {"uncertainty": out}} if which == "uncertainty" else {}
    paths = ("a.png", "b.png", "new.png" if extra else out)
    own = ", or give --in-place instead of an output" if victim == "a.png" and which == "result" else ""
    with pytest.raises(FileError, match=rf"is the input itself: writing would replace it\. Name another output{own}$"):
        plan(*paths, inputs=PAIR, outputs=TWO, **extra).checked()


def test_a_result_may_not_fall_on_another_input():
    touch("in/x.png", "out/in/x.png")
    said = problems(plan("in", "out/in/x.png", "out"))
    assert said["in/x.png"].startswith("out/in/x.png: is the input itself")


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_result_may_not_go_through_a_link_to_another_input(link):
    touch("in/a.png", "in/b.png", "out/c.png")
    if link == "file":
        Path("out/a.png").symlink_to("../in/b.png")
    else:
        touch("in/sub/x.png")
        Path("out/sub").symlink_to("../in")
        Path("in/x.png").symlink_to("a.png")
    said = problems(plan("in", "out"))
    victim = {"file": ("in/a.png", "b.png"), "folder": ("in/sub/x.png", "a.png")}[link]
    assert list(said) == [victim[0]] and "an input could be replaced" in said[victim[0]]


def test_a_result_may_not_fall_on_what_an_option_names():
    touch("a.png", "psf.png")
    with pytest.raises(FileError, match=r"^psf\.png: is what another option names: writing would replace it\. Name"):
        plan("a.png", "psf.png").writing((Output(),), {}, ["psf.png", "motion:21,75"]).checked()


def test_in_place_changes_nothing_outside_the_folder_and_nothing_twice(tmp_path):
    touch("in/a.png", "elsewhere/b.png", "elsewhere/c.png")
    Path("in/b.png").symlink_to(tmp_path / "elsewhere/b.png")
    Path("in/more").symlink_to(tmp_path / "elsewhere")
    Path("in/same.png").symlink_to("a.png")
    made, count = plan("in", in_place=True).checked()
    jobs = {job.source.as_posix(): job for job in made.jobs()}
    assert count == 4 and [name for name, job in jobs.items() if job.targets] == ["in/a.png"]
    assert jobs["in/same.png"].skip == f"a link to {tmp_path / 'in/a.png'}, which is in this folder itself"
    assert str(jobs["in/more/c.png"].problem) == (
        f"in/more/c.png: a link leads out of in, to {tmp_path / 'elsewhere/c.png'} (in place changes only what lies in "
        "the folder). Name the file itself, or another output folder"
    )
    assert str(jobs["in/b.png"].problem).startswith("in/b.png: a link leads out of in")


def test_what_cannot_be_looked_at_is_a_failing_job():
    touch("in/a.png")
    Path("in/gone.png").symlink_to("nowhere.png")
    made, count = plan("in", "out").checked()
    assert count == 2 and problems(made) == {
        "in/gone.png": "in/gone.png: cannot be reached: No such file or directory. Make it readable, or move it away"
    }


# --- inputs --------------------------------------------------------------------------------------------------


def test_two_files_are_one_job():
    touch("a/x.png", "b/y.tif")
    for paths, target in ((("a/x.png", "b/y.tif"), "a/x_denoised.png"), (("a/x.png", "b/y.tif", "o.png"), "o.png")):
        made = plan(*paths, inputs=PAIR)
        (job,) = made.jobs()
        assert job.sources == (Path("a/x.png"), Path("b/y.tif")) and job.target == Path(target)
        assert made.single and made.checked()[1] == 1
    made = plan("a/x.png", "b/y.tif", "out/", inputs=PAIR)
    assert targets(made) == [{"result": "out/x.png"}]
    (job,) = plan("a/x.png", "b/y.tif", inputs=PAIR, in_place=True).jobs()
    assert job.in_place and job.target == Path("a/x.png")


@pytest.mark.parametrize(
    ("paths", "in_place", "says"),
    [
        (("a.png",), False, r"^1 path was named, and this needs 2 pictures \(first, second\) and an output"),
        (("a.png", "b.png", "c.png", "d.png"), False, "4 paths were named"),
        (("a.png", "b.png", "c.png"), True, r"needs 2 pictures \(first, second\)\. Name one path for each$"),
        (("a.png", "in", "out"), False, "a.png and in are files and folders. Name files only, or folders only"),
    ],
)
def test_wrong_numbers_and_kinds_of_inputs(paths, in_place, says):
    touch("a.png", "b.png", "c.png", "in/x.png")
    with pytest.raises(ConfigError, match=says):
        plan(*paths, inputs=PAIR, in_place=in_place)


def test_each_of_several_inputs_must_exist():
    touch("a.png")
    with pytest.raises(NothingToDoError, match=r"gone\.png: there is no such file"):
        plan("a.png", "gone.png", "out.png", inputs=PAIR)


def test_folders_are_paired_by_names_without_extension():
    touch("a/1.png", "a/sub/2.jpg", "b/1.tif", "b/sub/2.jpg", "b/notes.txt")
    made = plan("a", "b", "out", inputs=PAIR, outputs=TWO)
    assert made.checked()[1] == 2 and not made.single and made.folder == Path("out")
    skipped, one, two = made.jobs()
    assert skipped.skip == "not a picture's extension"
    assert one.sources == (Path("a/1.png"), Path("b/1.tif")) and one.names == ("1.png", "1.tif")
    assert two.sources == (Path("a/sub/2.jpg"), Path("b/sub/2.jpg"))
    assert two.outputs == {"result": "sub/2.jpg", "uncertainty": "sub/2_uncertainty.jpg"}
    assert plan("a", "b", inputs=PAIR).out == Path("a_denoised")


def test_what_has_no_counterpart_is_a_failing_job_and_stops_nothing():
    touch("a/1.png", "a/2.png", "a/4.png", "b/1.png", "b/3.png", "b/4.png", "b/4.jpg")
    made = plan("a", "b", "out", inputs=PAIR)
    assert made.checked()[1] == 4
    actual = {
        job.source.as_posix(): (job.problem.what if job.problem else "", len(job.targets), job.skip)
        for job in made.jobs()
    }
    assert actual == {
        "a/1.png": ("", 1, ""),
        "a/2.png": ("has no counterpart in b", 0, ""),
        "b/3.png": ("has no counterpart in a", 0, ""),
        "a/4.png": ("cannot be paired: one name for b/4.jpg, b/4.png", 0, ""),
    }


def test_results_inside_an_input_are_no_inputs():
    touch("a/1.png", "b/1.png", "a/out/1.png")
    assert [job.problem for job in plan("a", "b", "a/out", inputs=PAIR).jobs()] == [None]


# --- sequences -----------------------------------------------------------------------------------------------


def test_a_folder_of_frames_is_one_job():
    touch("in/f1.png", "in/f2.png")
    made = plan("in", frames_dir=True, outputs=TWO, compare=True)
    (job,) = made.jobs()
    assert job.sequence and job.sources == (Path("in"),) and made.single and made.checked()[1] == 1
    assert job.targets == {"result": Path("in_denoised"), "uncertainty": Path("in_denoised_uncertainty")}
    assert job.compare == Path("in_denoised_compare.png") and made.folder == Path()
    assert job.names == ("in",) and job.outputs["result"] == "in_denoised"
    Path("out").mkdir()
    for out in ("out", "out/", "new"):
        assert targets(plan("in", out, frames_dir=True)) == [{"result": out.rstrip("/")}]
    assert [job.sources for job in plan("in", "out").jobs()] == [(Path("in/f1.png"),), (Path("in/f2.png"),)]


def test_several_folders_of_frames_and_files_among_them():
    touch("one/f1.png", "x/two.clip/f1.png", "c.tif")
    made = plan("one", "x/two.clip", "c.tif", "out", frames_dir=True)
    assert [(path["result"], job.sequence) for path, job in zip(targets(made), made.jobs(), strict=True)] == [
        ("out/one", True), ("out/two.clip", True), ("out/c.tif", False),
    ]  # fmt: skip
    assert made.checked()[1] == 3 and made.folder == Path("out")


def test_frames_are_not_replaced_and_two_inputs_are_two_folders():
    touch("a/f1.png", "b/f1.png")
    with pytest.raises(ConfigError, match="not replaced in place"):
        plan("a", in_place=True, frames_dir=True)
    with pytest.raises(FileError, match="is the input itself"):
        plan("a", "a", frames_dir=True).checked()
    (job,) = plan("a", "b", "out", inputs=PAIR, frames_dir=True).jobs()
    assert job.sequence and job.sources == (Path("a"), Path("b")) and job.target == Path("out")
