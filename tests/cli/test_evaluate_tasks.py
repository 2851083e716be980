"""`restore eval` of every task: deconvolution, and toy tasks of another size, with several inputs and outputs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.cli.conftest import Ran

QUIET = ("--threads", 1, "--quiet", "--json", "--device", "cpu", "--metrics", "psnr")


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


@pytest.fixture
def scenes(tmp_path):
    """Two pictures of shapes with sharp edges, which blur can spoil."""
    high, wide = np.mgrid[:112, :120]
    for number in range(2):
        discs = [(high - 20 * i - 15) ** 2 + (wide - 23 * i - 10 - 9 * number) ** 2 < 120 for i in range(5)]
        stripes = 70 * ((wide // 11 + high // 17) % 2)
        grey = 40 + stripes + 90 * np.any(discs, 0)
        write(tmp_path / f"scenes/{number}.png", np.stack([grey, grey * 0.8, 255 - grey], -1).astype(np.uint8))
    return tmp_path / "scenes"


def gains(ran: Ran, case: str, method: str = "restore") -> float:
    """dB in the mean of a case over its input."""
    summary = {each["method"]: each["means"]["psnr"] for each in ran.json["cases"][case]["summary"]}
    return summary[method] - summary["input"]


def test_deconvolution_gains_in_every_case_of_the_protocol(restore, scenes):
    words = ("evaluation.cases={c: {psf: 'motion:9,30', noise: 2.55}, "
             "v: {psf: [disc:2, 'motion:9,30'], noise: 2.55, boundary: valid}}")  # fmt: skip
    ran = restore("eval", "deconv/wiener_unet", scenes, words, "--peer", "wiener,rl-tv", *QUIET)
    assert ran.code == 0 and ran.err == ""
    assert list(ran.json["methods"]) == ["restore", "wiener", "rl-tv"]
    for case in ("c", "v"):
        assert gains(ran, case) > 4.5 and gains(ran, case, "wiener") > 1.5 and gains(ran, case, "rl-tv") > 3
    assert "PSF and noise level given, a margin of a PSF's width left out" in ran.json["cases"]["c"]["what"]


def test_the_configs_of_both_regimes_have_cases_that_gain(restore, scenes):
    small = ("--first", 1, "evaluation.limit=96", *QUIET)
    ran = restore("eval", "deconv/wiener_unet", scenes, "--cases", "disc_2.55,disc_2.55_measured", *small)
    assert ran.code == 0 and gains(ran, "disc_2.55") > 4 and gains(ran, "disc_2.55_measured") > 2
    ran = restore("eval", "deconv/wiener_unet_low_light", scenes, "--cases", "disc_gain8", *small)
    assert ran.code == 0 and gains(ran, "disc_gain8") > 4


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--weights", "denoise"), "these weights are for the task 'denoise', not 'deconv'"),
        (("--method", "classical"), "unknown method 'classical' for deconv. Use auto, measured, infwide"),
        (("--preset", "fast"), "there is no option --preset here"),
        (("--peer", "nlm"), "no method or algorithm 'nlm' to compare with. Known: auto, measured"),
        (("--option", "iterations=0"), "the option iterations cannot be '0'. It is a whole number, 1 or more"),
        (("--option", "iteration=3"), "no method has an option 'iteration'. Did you mean 'iterations'"),
        (("--option", "flip_psf=yes"), "the option flip_psf cannot be 'yes'. Give true or false"),
        (("--option", "psf"), "--option cannot be 'psf'. Write it as NAME=VALUE"),
        (("evaluation.cases={a: {psf: 'motio:3,4'}}",), "there is no blur called 'motio'"),
        (("evaluation.cases={a: {noise: 3}}",), "evaluation.cases.a.psf cannot be"),
        (("evaluation.cases={a: {psf: 'disc:2', noise: 3, gain: 8}}",), "noise and gain are two kinds of noise"),
        (("evaluation.cases={a: {psf: 'disc:2', boundary: round}}",), "evaluation.cases.a.boundary cannot be 'round'"),
    ],
)
def test_mistakes_about_deconvolution_are_one_sentence(restore, scenes, words, text):
    ran = restore("eval", "deconv/wiener_unet", scenes, *words, "--quiet")
    assert ran.code in (2, 3) and text in ran.err and len(ran.err.splitlines()) == 1


def test_really_blurred_pairs_take_the_psf_as_an_option(restore, scenes, tmp_path):
    from restore.degradations.blur_cases import BlurCase

    case = BlurCase(psf="disc:2", noise=1, boundary="valid", clipped=True)
    for number in range(2):
        made = case.make([cv2.imread(str(scenes / f"{number}.png"))], number)
        write(tmp_path / f"real/{number}.png", made.inputs["picture"])
        write(tmp_path / f"truth/{number}.png", made.targets["result"])
    words = ("eval", "deconv/wiener_unet", tmp_path / "real", tmp_path / "truth", "--method", "hyper-laplacian")
    ran = restore(*words, "--option", "psf=disc:2", "--peer", "wiener", *QUIET)
    assert ran.code == 0 and gains(ran, "pairs") > 3 and gains(ran, "pairs", "wiener") > 1
    ran = restore(*words, *QUIET)
    assert ran.code == 2 and "needs the blur's shape. Give --option psf=FILE, --option psf=motion:LENGTH" in ran.err


# --- tasks from outside


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """Pictures of 2 x 2 blocks, whose values 24 divides, and a config for a toy task."""
    monkeypatch.setenv("RESTORE_TASKS", "tests.evaluation.toys")
    for number in range(3):
        blocks = 24 * np.random.default_rng(number).integers(1, 10, (20, 24, 1))
        write(tmp_path / f"photos/{number}.png", blocks.repeat(2, 0).repeat(2, 1).repeat(3, 2).astype(np.uint8))

    def config(task, cases="{}"):
        path = tmp_path / "toy.yaml"
        path.write_text(f"name: toy\ntask: {task}\nevaluation: {{cases: {cases}}}\n")
        return path

    return config


def test_a_task_of_another_size_with_its_own_cases(restore, toys, tmp_path):
    config = toys("large", "{dark: {dark: 2}, grey: {dark: 2, judged: grey}, alone: {dark: 2, given: false}}")
    ran = restore("eval", config, tmp_path / "photos", *QUIET)
    assert ran.code == 0 and ran.json["cases"]["dark"]["what"] == "half the size, 2 times darker"
    for case in ("dark", "grey"):  # each picture with its own gain, 2, 3 and 4: exactly the truth
        psnr = {each["method"]: each["means"]["psnr"] for each in ran.json["cases"][case]["summary"]}
        assert psnr["restore"] == 100
    rows = ran.json["cases"]["dark"]["rows"]
    assert [row["megapixels"] for row in rows[:2]] == [40 * 48 / 1e6] * 2
    assert 5 < rows[0]["scores"]["psnr"] < 15  # the input, plainly enlarged, is half as bright
    assert {row["method"] for row in ran.json["cases"]["grey"]["rows"]} == {"restore"}  # no input to compare with
    assert ran.json["cases"]["alone"]["summary"][1]["means"]["psnr"] < 15
    text = restore("eval", config, tmp_path / "photos", "--quiet", "--device", "cpu", "--threads", 1)
    assert text.code == 0 and "restore: large 2, cpu" in text.out


def test_super_resolution_by_the_protocol_of_papers(restore, toys, scenes):
    """Sides of 112 x 120 px, so that by 8 nothing is cropped, and by 7 a column is; crop = scale."""
    from restore.degradations.upscale_cases import UpscaleCase
    from restore.evaluation.pictures import to_unit_picture
    from restore.metrics.table import measure

    names = ("psnr_y", "ssim_y_valid11", "psnr", "ssim_valid11")
    config = toys("repeated", "{by4: {}, by7: {factor: 7}, jpeg: {kind: jpeg, quality: 20}}")
    ran = restore("eval", config, scenes, *QUIET[:-2], "--metrics", "psnr_y,ssim_y,psnr,ssim")
    assert ran.code == 0 and list(ran.json["cases"]) == ["by4", "by7", "jpeg"]
    rows = {case: each["rows"][1] for case, each in ran.json["cases"].items()}
    assert [row["megapixels"] for row in rows.values()] == [112 * size / 1e6 for size in (120, 119, 120)]
    clean = cv2.imread(str(scenes / "0.png"))[..., ::-1]
    for name, case in (("by4", UpscaleCase()), ("by7", UpscaleCase(factor=7))):
        made = case.make([clean], 0)
        large = made.inputs["picture"].repeat(case.factor, 0).repeat(case.factor, 1)
        x, y = (to_unit_picture(np.ascontiguousarray(each)) for each in (large, made.targets["result"]))
        expected = {key: value.item() for key, value in measure(names, x, y, border=case.factor).items()}
        assert rows[name]["scores"] == pytest.approx(expected, abs=1e-5)
    assert rows["jpeg"]["scores"]["psnr"] < rows["by4"]["scores"]["psnr"] - 0.3
    assert ran.json["methods"]["restore"].startswith("repeated 4")


def test_an_output_that_is_not_there_is_a_failure(restore, toys, tmp_path, monkeypatch):
    from tests.evaluation.toys import SmallCase

    make = SmallCase.make
    monkeypatch.setattr(
        SmallCase, "make",
        lambda self, pictures, index: type(made := make(self, pictures, index))(
            inputs=made.inputs, targets={"depth": made.targets["result"]}
        ),
    )  # fmt: skip
    ran = restore("eval", toys("large", "{a: {dark: 2}}"), tmp_path / "photos", *QUIET)
    assert ran.code == 1 and "0.png: the method gives no output 'depth'. It gives result, grey" in ran.err


def test_a_truth_of_another_size_than_the_result(restore, toys, tmp_path):
    for folder in ("small", "truth"):
        write(tmp_path / f"{folder}/0.png", np.full((16, 16, 3), 9, np.uint8))
    ran = restore("eval", toys("large"), tmp_path / "small", tmp_path / "truth", *QUIET)
    assert ran.code == 1
    assert (
        "pairs, restore: 0.png: the result has 32 x 32 px in 3 channels, its truth 16 x 16 px in 3 channels" in ran.err
    )


def test_cases_of_two_consecutive_pictures(restore, toys, tmp_path):
    ran = restore("eval", toys("both", "{a: {}}"), tmp_path / "photos", *QUIET)
    before, after = ran.json["cases"]["a"]["summary"]
    assert ran.code == 0 and before["pictures"] == after["pictures"] == 2  # the last picture has no follower
    assert after["means"]["psnr"] == 100 > before["means"]["psnr"] + 50


def test_pairs_of_a_task_with_two_inputs(restore, toys, tmp_path):
    for number in range(2):
        one, two = (np.full((16, 16, 3), 20 * number + level, np.uint8) for level in (40, 80))
        truth = ((one.astype(int) + two) // 2).astype(np.uint8)
        for folder, pixels in (("a", one), ("b", two), ("truth", truth)):
            write(tmp_path / f"{folder}/{number}.png", pixels)
        for ending, pixels in (("_a", one), ("_b", two), ("_mean", truth)):
            write(tmp_path / f"one/{number}{ending}.png", pixels)
    write(tmp_path / "b/9.png", two)
    config = toys("both")
    ran = restore("eval", config, tmp_path / "a", tmp_path / "b", tmp_path / "truth", *QUIET)
    assert ran.code == 1 and ran.json["unpaired"] == [f"{tmp_path}/b/9.png: no clean partner"]
    before, after = ran.json["cases"]["pairs"]["summary"]
    assert after["means"]["psnr"] == 100 and before["means"]["psnr"] == pytest.approx(20 * np.log10(255 / 20))
    ran = restore("eval", config, tmp_path / "one", "--pairs", "_a,_b,_mean", *QUIET)
    assert ran.code == 0 and ran.json["cases"]["pairs"]["summary"][1]["means"]["psnr"] == 100
    ran = restore("eval", config, tmp_path / "one", "--pairs", "_a,_mean", *QUIET)
    assert ran.code == 2 and "2 ends of names for 3 pictures taken together" in ran.err
    ran = restore("eval", config, tmp_path / "a", tmp_path / "truth", *QUIET)
    assert ran.code == 2 and "2 folders are given. Give 3: first, second, their truth" in ran.err


def test_pairs_of_another_size(restore, toys, tmp_path):
    large = cv2.imread(str(tmp_path / "photos/0.png"))
    write(tmp_path / "small/0.png", large[::2, ::2])
    write(tmp_path / "truth/0.png", large)
    ran = restore("eval", toys("large"), tmp_path / "small", tmp_path / "truth", *QUIET, "evaluation.limit=10")
    assert ran.code == 0 and ran.json["cases"]["pairs"]["summary"][1]["means"]["psnr"] == 100
    assert ran.json["cases"]["pairs"]["rows"][1]["megapixels"] == 20 * 20 / 1e6


def test_a_case_that_makes_other_inputs_than_the_task_has(restore, toys, tmp_path, monkeypatch):
    from restore.degradations.cases import CaseSample
    from tests.evaluation.toys import MeanCase

    made = CaseSample(inputs={"first": np.zeros((8, 8, 3), np.uint8)}, targets={"": np.zeros((8, 8, 3), np.uint8)})
    monkeypatch.setattr(MeanCase, "make", lambda self, pictures, index: made)
    ran = restore("eval", toys("both", "{a: {}}"), tmp_path / "photos", *QUIET)
    assert ran.code == 1 and "0.png: the case makes no input 'second'. It makes first" in ran.err


def test_tasks_without_cases(restore, toys, tmp_path):
    ran = restore("eval", toys("caseless"), tmp_path / "photos", "--quiet")
    assert ran.code == 2 and "toy.yaml has no cases for the task caseless" in ran.err
    ran = restore("eval", toys("caseless", "{a: {dark: 2}}"), tmp_path / "photos", "--quiet")
    assert ran.code == 2 and "the task caseless has no cases to evaluate" in ran.err
    ran = restore("eval", toys("wrong"), tmp_path / "photos", "--quiet")
    assert ran.code == 2 and "tests.evaluation.toys:LargeAndGrey describes no cases of an evaluation" in ran.err


def test_neither_objective_nor_losses_are_built(restore, tmp_path, scenes):
    """Such a config cannot be trained on this machine, but what it names can be measured."""
    config = tmp_path / "mine.yaml"
    config.write_text(
        "name: mine\nmodel: {name: nowhere.py:Net}\nobjective: {name: nowhere.py:Objective, losses: {vgg19: 1}}\n"
        "degradation: {name: nowhere.py:Damage}\nevaluation: {cases: {a: {noise: gaussian, level: 25}}}\n"
    )
    ran = restore("eval", config, scenes, "--method", "classical", *QUIET)
    assert ran.code == 0 and gains(ran, "a") > 2


def test_the_figures_of_denoising_are_those_of_the_published_recipe(restore, scenes):
    """Bit for bit: the noise restated, and what the program's own restorer makes of it."""
    import torch

    import restore as package
    from restore.metrics.pixel import psnr

    def unit(pixels):
        return torch.from_numpy(pixels).movedim(-1, 0)[None].float() / 255

    torch.set_num_threads(1)
    methods = {"restore": {"weights": "denoise"}, "nlm": {"method": "classical", "algorithm": "nlm"}}
    ran = restore("eval", "denoise/plain_unet", scenes, "--cases", "gaussian25", "--weights", "denoise",
                  "--peer", "nlm", *QUIET)  # fmt: skip
    expected = []
    for index, path in enumerate(sorted(scenes.glob("*.png"))):
        clean = package.read(path).pixels
        noise = 25 * np.random.default_rng(index).standard_normal(clean.shape)
        noisy = np.clip(np.rint(clean.astype(np.float64) + noise), 0, 255).astype(np.uint8)
        results = {"input": noisy}
        results |= {name: package.load("denoise", device="cpu", **how)(noisy) for name, how in methods.items()}
        expected += [(name, float(psnr(unit(x), unit(clean), rounded=True))) for name, x in results.items()]
    rows = ran.json["cases"]["gaussian25"]["rows"]
    assert [(row["method"], row["scores"]["psnr"]) for row in rows] == expected
