"""`restore score` and `restore eval`, as people type them."""

import cv2
import numpy as np
import pytest

from tests.cli.conftest import write_noisy


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def flat(level=100, shape=(32, 40, 3), dtype=np.uint8):
    return np.full(shape, level, dtype)


def test_score_of_two_files_with_conventions(restore, tmp_path):
    a, b = write(tmp_path / "a.png", flat(100)), write(tmp_path / "b.png", flat(110))
    ran = restore("score", a, b)
    assert ran.code == 0 and ran.err == ""
    assert "psnr: RGB, one MSE over all channels" in ran.out and "higher is better" in ran.out
    assert "pictures compared at full depth, no border left out" in ran.out
    assert f"{20 * np.log10(25.5):.2f}" in ran.out.splitlines()[-1]


def test_score_takes_sixteen_bits_at_full_depth(restore, tmp_path):
    a = write(tmp_path / "a.png", flat(25600, dtype=np.uint16))
    b = write(tmp_path / "b.png", flat(25610, dtype=np.uint16))
    actual = restore("score", a, b, "--metrics", "psnr", "--json").json
    assert actual["mean"]["psnr"] == pytest.approx(20 * np.log10(6553.5), abs=1e-3)
    assert restore("score", a, b, "--metrics", "psnr", "--rounded", "--json").json["mean"]["psnr"] == 100


def test_score_options(restore, tmp_path):
    truth = flat(100)
    framed = truth.copy()
    framed[0] = 255
    a, b = write(tmp_path / "a.png", framed), write(tmp_path / "b.png", truth)
    actual = restore("score", a, b, "--border", 1, "--y", "--metrics", "psnr,ssim", "--json").json
    assert actual["mean"] == {"psnr_y": 100, "ssim_y_valid11": pytest.approx(1)} and actual["border"] == 1
    assert "BT.601" in actual["conventions"]["psnr_y"]


def test_score_of_folders_goes_on_after_failures(restore, tmp_path):
    for name, level in (("x", 100), ("y", 110), ("alone", 1)):
        write(tmp_path / f"out/{name}.png", flat(level))
    write(tmp_path / "truth/x.bmp", flat(110))
    write(tmp_path / "truth/y.png", flat(120, (32, 44, 3)))
    (tmp_path / "out/z.png").write_bytes(b"broken")
    write(tmp_path / "truth/z.png", flat())
    ran = restore("score", tmp_path / "out", tmp_path / "truth", "--json")
    assert ran.code == 1 == ran.json["exit_code"]
    assert ran.json["mean"]["psnr"] == pytest.approx(20 * np.log10(25.5))
    lines = ran.err.splitlines()
    assert any("y.png: the sizes differ: 40 x 32 and 44 x 32 pixels" in line for line in lines)
    assert any("z.png" in line for line in lines) and any("alone.png: no clean partner" in line for line in lines)
    assert [bool(each["scores"]) for each in ran.json["pictures"]] == [True, False, False]


def test_score_of_one_folder_by_endings(restore, tmp_path):
    for name, level in (("a_real", 100), ("a_mean", 110)):
        write(tmp_path / f"{name}.png", flat(level))
    ran = restore("score", tmp_path, "--pairs", "_real,_mean", "--json")
    assert ran.code == 0 and ran.json["mean"]["psnr"] == pytest.approx(20 * np.log10(25.5))


def test_score_without_a_truth(restore, tmp_path):
    picture = write_noisy(tmp_path / "a.png", shape=(200, 300, 3))
    ran = restore("score", picture, "--json")
    assert ran.code == 0 and 3 < ran.json["mean"]["naturalness"] < 60
    assert "not NIQE's numbers" in ran.json["conventions"]["naturalness"]
    small = restore("score", write(tmp_path / "small.png", flat()))
    assert small.code == 3 and "small.png: naturalness needs sides of at least 192 px" in small.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "takes a picture and its truth"),
        (("a", "--metrics", "psnr"), "psnr compares with a truth"),
        (("a", "b", "--metrics", "pnsr"), "no metric is called 'pnsr'. Did you mean 'psnr'"),
        (("a", "b", "--pairs", "_real"), "--pairs cannot be '_real'"),
    ],
)
def test_score_mistakes(restore, words, text):
    ran = restore("score", *words)
    assert ran.code == 2 and text in ran.err


def photographs(folder):
    """Smooth pictures, easy to denoise."""
    high, wide = np.mgrid[:48, :56]
    for number in range(3):
        pixels = 128 + 60 * np.sin(high / 9 + number) * np.cos(wide / 7)
        write(folder / f"{number}.png", np.repeat(pixels[..., None], 3, 2).astype(np.uint8))
    return folder


CLASSICAL = ("--method", "classical", "--threads", 1, "--quiet")


def test_eval_prints_every_choice(restore, tmp_path):
    folder = photographs(tmp_path / "photos")
    ran = restore(
        "eval",
        "denoise/plain_unet",
        folder,
        *CLASSICAL,
        "--cases",
        "gaussian25,clean",
        "--peer",
        "wavelet",
        "--device",
        "cpu",
    )
    assert ran.code == 0 and ran.err == ""
    for text in (
        "restore: classical:nlm, cpu, 1 threads",
        "wavelet: classical:wavelet",
        "psnr: RGB, one MSE over all channels",
        "pictures clipped and rounded to 8 bits, no border left out",
        "gaussian25: white Gaussian noise, sigma 25 of 255 (numpy default_rng(picture index)), clipped and rounded",
        "psnr input | psnr restore | psnr wavelet | ssim_valid11 input",
        "all pictures; CPU seconds of all threads together",
        " over its input, best +",
        " CPU s/MP",
        "clean: clean",
        "mean of 3",
    ):
        assert text in ran.out
    assert "0.png" in ran.out and "2.png" in ran.out
    printed = [line for line in ran.out.splitlines() if line.startswith("restore: worst picture")]
    assert "over its input" in printed[0] and "over its input" not in printed[1]  # of clean pictures, nothing is gained


def test_eval_in_json(restore, tmp_path):
    folder = photographs(tmp_path / "photos")
    ran = restore(
        "eval", "denoise/plain_unet", folder, *CLASSICAL, "--cases", "gaussian25", "--every", 2, "--metrics", "psnr",
        "evaluation.border=2", "--json",
    )  # fmt: skip
    actual = ran.json
    assert actual["protocol"]["border"] == 2 and actual["protocol"]["every"] == 2 and actual["exit_code"] == 0
    case = actual["cases"]["gaussian25"]
    assert [row["picture"] for row in case["rows"]] == ["0.png", "0.png", "2.png", "2.png"]
    before, after = case["summary"]
    assert before["method"] == "input" and before["means"]["psnr"] == pytest.approx(20.2, abs=0.4)
    assert after["means"]["psnr"] > before["means"]["psnr"] + 5 and after["worst"] in ("0.png", "2.png")
    assert after["seconds_per_megapixel"] > 0


def test_eval_of_pairs(restore, tmp_path):
    folder = photographs(tmp_path)
    for number in range(3):
        clean = cv2.imread(str(folder / f"{number}.png"))
        noise = np.random.default_rng(number).normal(0, 15, clean.shape)
        write(folder / f"{number}_real.png", np.clip(clean + noise, 0, 255).astype(np.uint8))
        (folder / f"{number}.png").rename(folder / f"{number}_mean.png")
    (folder / "2_mean.png").unlink()
    words = ("eval", "denoise/plain_unet", folder, "--pairs", "_real,_mean", *CLASSICAL)
    ran = restore(*words, "--json")
    assert ran.code == 1 and "2_real.png: no clean partner" in ran.err and "2_real.png" in ran.json["unpaired"][0]
    before, after = ran.json["cases"]["pairs"]["summary"]
    assert before["pictures"] == 2 and after["least_gain"] > 3
    assert restore(*words, "--cases", "clean").code == 2


def test_eval_goes_on_after_failures(restore, tmp_path):
    folder = photographs(tmp_path)
    (folder / "1.png").write_bytes(b"broken")
    words = ("eval", "denoise/plain_unet", folder, *CLASSICAL, "--peer", "opencv-nlm", "--json")
    ran = restore(*words, "--cases", "gaussian25_unclipped")
    assert ran.code == 1
    assert any("1.png" in line for line in ran.err.splitlines())
    assert "gaussian25_unclipped, opencv-nlm: 0.png: opencv-nlm works on 8-bit pictures only" in ran.err
    assert [each["pictures"] for each in ran.json["cases"]["gaussian25_unclipped"]["summary"]] == [2, 2]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("denoise/plain_unet",), "takes a config and a folder"),
        (("denoise/plain_une", "photos"), "no config 'denoise/plain_une'. Did you mean 'denoise/plain_unet'"),
        (
            ("denoise/plain_unet", "photos", "--peer", "nml", "--method", "classical"),
            "no method or algorithm 'nml' to compare with. Did you mean 'nlm'",
        ),
        (("denoise/plain_unet", "photos", "--method", "classical"), "photos: cannot list this"),
    ],
)
def test_eval_mistakes(restore, words, text):
    ran = restore("eval", *words, "--quiet")
    assert ran.code and text in ran.err and len(ran.err.splitlines()) == 1


def test_eval_of_weights(restore, tmp_path):
    """A network of a file, through the task's own engine; all its weights are 0, so its residual is."""
    import datetime

    import torch

    from restore.models import build
    from restore.zoo.card import WeightsCard
    from restore.zoo.weights import save_weights

    arguments = {"channels": 3, "condition_channels": 1, "widths": [4, 6], "blocks": [1, 1, 1]}
    net = build("plain_unet", **arguments)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    card = WeightsCard(name="still", task="denoise", summary="Nothing.", date=datetime.date(2026, 1, 1), licence="CC0")
    path = tmp_path / "still.safetensors"
    save_weights(path, net, "plain_unet", arguments, card)
    words = ("--weights", path, "--cases", "gaussian25", "--threads", 1, "--quiet", "--json")
    actual = restore("eval", "denoise/plain_unet", photographs(tmp_path / "photos"), *words).json
    assert actual["methods"]["restore"].startswith("network:still:")
    before, after = actual["cases"]["gaussian25"]["summary"]
    assert after["means"] == before["means"] and after["least_gain"] == after["greatest_gain"] == 0
