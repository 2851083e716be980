"""`restore degrade` end to end, in this process: the statistics of the files written, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from restore.analysis.clipping import clipped_moments
from restore.engines.degrade.options import CAMERAS
from restore.inference.ledger import LEDGER_NAME
from restore.physics import camera
from restore.physics.noise_mixture import KINDS
from restore.tasks import TASKS

GREY = 128  # where sigma 25 is clipped nowhere


def read(path: Path) -> np.ndarray:
    """H x W x samples, RGB order, native depth."""
    if path.suffix == ".tif":
        pixels = tifffile.imread(path)
        return pixels if pixels.ndim == 3 else pixels[..., None]
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    pixels = np.atleast_3d(pixels)
    return np.concatenate([pixels[..., :3][..., ::-1], pixels[..., 3:]], 2) if pixels.shape[2] > 1 else pixels


def write_flat(path: Path, value: float = GREY, shape: tuple[int, ...] = (120, 160, 3), dtype: str = "uint8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full(shape, value, dtype))[1].tobytes())
    return path


def lag1(noise: np.ndarray) -> float:
    """Correlation of neighbours in a row."""
    noise = noise - noise.mean()
    return float((noise[:, 1:] * noise[:, :-1]).mean() / (noise**2).mean())


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return write_flat(tmp_path / "flat.png")


@pytest.fixture
def degraded(restore, flat: Path, tmp_path: Path):
    """The pixels that `restore degrade KIND flat.png out.png …` writes."""

    def run(kind: str, *options: object, source: Path = flat, out: str = "out.png") -> np.ndarray:
        ran = restore("degrade", kind, source, tmp_path / out, "--threads", 1, "--overwrite", *options)
        assert ran.code == 0, ran.err
        return read(tmp_path / out)

    return run


class TestStatistics:
    def test_gaussian(self, degraded):
        noisy = degraded("gaussian", "--sigma", 20).astype(float)
        assert noisy.std() == pytest.approx(20, rel=0.02) and noisy.mean() == pytest.approx(GREY, abs=0.3)
        assert abs(lag1(noisy)) < 0.02 and abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1]) < 0.03

    def test_poisson(self, degraded):
        noisy = degraded("poisson", "--photons", 40).astype(float) / 255
        x = GREY / 255
        assert noisy.mean() == pytest.approx(x, rel=0.01) and noisy.std() == pytest.approx((x / 40) ** 0.5, rel=0.02)

    def test_speckle(self, degraded, tmp_path):
        """`--sigma` is the std at white."""
        dark = write_flat(tmp_path / "dark.png", 64)
        assert degraded("speckle", "--sigma", 30).std() == pytest.approx(30 * GREY / 255, rel=0.02)
        assert degraded("speckle", "--sigma", 30, source=dark).std() == pytest.approx(30 * 64 / 255, rel=0.02)

    def test_salt_and_pepper(self, degraded):
        noisy = degraded("salt-pepper", "--share", 0.2)
        assert set(np.unique(noisy)) == {0, GREY, 255}
        for value in (0, 255):
            assert (noisy == value).mean() == pytest.approx(0.1, abs=0.005)

    @pytest.mark.parametrize("blur", [0.7, 1.2])
    def test_correlated(self, degraded, blur):
        """Neighbours under a Gaussian kernel of std s: exp(-1 / (4 s^2))."""
        noisy = degraded("correlated", "--sigma", 15, "--blur", blur).astype(float)
        assert noisy.std() == pytest.approx(15, rel=0.04)
        assert lag1(noisy) == pytest.approx(np.exp(-0.25 / blur**2), abs=0.03)

    def test_correlated_depends_on_the_signal(self, degraded, tmp_path):
        dark = write_flat(tmp_path / "dark.png", 51)
        noisy = degraded("correlated", "--sigma", 15, "--dependence", 1, source=dark)
        assert noisy.std() == pytest.approx(15 * (2 * 51 / 255) ** 0.5, rel=0.04)

    def test_resize(self, degraded):
        noisy = degraded("resize", "--sigma", 15, "--factor", 2.5).astype(float)
        assert noisy.std() == pytest.approx(15, rel=0.05) and lag1(noisy) > 0.6

    def test_camera(self, degraded):
        """Noise follows sensitivity; what a preset smooths is coarse."""
        slow, fast = (degraded("camera", "--camera", "dslr", "--iso", iso).astype(float) for iso in (800, 12800))
        assert fast.std() / slow.std() == pytest.approx(4, rel=0.15)
        smooth = degraded("camera", "--preset", "smoothed", "--iso", 12800).astype(float)
        raw = degraded("camera", "--preset", "raw", "--iso", 12800).astype(float)
        assert lag1(smooth) > lag1(raw) + 0.1 > 0.3

    @pytest.mark.parametrize("kind", [("jpeg", "--quality", 30), ("none", "--jpeg", 30)])
    @pytest.mark.parametrize("subsampling", ["420", "444"])
    def test_jpeg_is_that_of_libjpeg(self, degraded, tmp_path, kind, subsampling):
        data = pytest.importorskip("skimage.data")
        photo = data.astronaut()[20:137, 150:304]
        Image.fromarray(photo).save(tmp_path / "photo.png")
        ours = degraded(*kind, "--subsampling", subsampling, source=tmp_path / "photo.png").astype(float)
        sampling = {"420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}
        flags = [cv2.IMWRITE_JPEG_QUALITY, 30, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling[subsampling]]
        theirs = cv2.imdecode(cv2.imencode(".jpg", photo[..., ::-1], flags)[1], cv2.IMREAD_COLOR)[..., ::-1]
        assert ((ours - theirs) ** 2).mean() < 0.1 * ((theirs.astype(float) - photo) ** 2).mean()

    def test_noise_then_jpeg(self, degraded):
        plain, squeezed = degraded("gaussian", out="a.png"), degraded("gaussian", "--jpeg", 20, out="b.png")
        assert 5 < squeezed.std() < 0.8 * plain.std()

    def test_none_changes_nothing(self, degraded, flat):
        assert np.array_equal(degraded("none"), read(flat))

    def test_clipped_to_what_the_file_holds(self, degraded, tmp_path):
        """The moments of a clipped Gaussian, at 10 with sigma 40."""
        import torch

        noisy = degraded("gaussian", "--sigma", 40, source=write_flat(tmp_path / "dark.png", 10)).astype(float)
        mean, std = clipped_moments(torch.tensor([10 / 255]), torch.tensor([40 / 255]))
        assert noisy.mean() == pytest.approx(float(mean) * 255, rel=0.02)
        assert noisy.std() == pytest.approx(float(std) * 255, rel=0.02)

    def test_random_draws_for_each_picture(self, restore, tmp_path):
        for value in range(60, 200, 10):
            write_flat(tmp_path / "in" / f"{value}.png", value, (24, 24, 3))
        ran = restore("degrade", "random", tmp_path / "in", tmp_path / "out", "--json", "-q")
        kinds = {entry["decisions"]["damage"].split(",")[0] for entry in ran.json["files"]}
        assert ran.code == 0 and len(kinds) >= 5


class TestBlur:
    @pytest.fixture
    def edge(self, tmp_path: Path) -> Path:
        """Black on the left, white on the right."""
        pixels = np.zeros((60, 96, 3), np.uint8)
        pixels[:, 48:] = 255
        Image.fromarray(pixels).save(tmp_path / "edge.png")
        return tmp_path / "edge.png"

    def test_a_line_makes_a_ramp_of_its_length(self, degraded, edge):
        row = degraded("blur", "--shape", "line", "--length", 20, "--gamma", source=edge)[30, :, 0].astype(float)
        assert ((row > 3) & (row < 252)).sum() == pytest.approx(20, abs=1)
        slope = np.diff(row)[42:52]
        assert slope == pytest.approx(np.full(10, 255 / 20), abs=1.5)
        upright = degraded("blur", "--shape", "line", "--length", 20, "--angle", 90, source=edge)
        assert np.array_equal(upright, read(edge))

    def test_linear_light_unless_asked_otherwise(self, degraded, edge):
        lit, coded = (degraded("blur", "--shape", "disc", *more, source=edge) for more in ((), ("--gamma",)))
        middle = 0.5 * (lit[30, 47:49, 0].astype(float).sum()), 0.5 * (coded[30, 47:49, 0].astype(float).sum())
        assert middle == (pytest.approx(186, abs=3), pytest.approx(127.5, abs=1))  # half of the light has the code 188
        assert lit.mean() > coded.mean()

    def test_the_psf_is_written(self, degraded, restore, tmp_path):
        data = pytest.importorskip("skimage.data")
        Image.fromarray(data.astronaut()[:160, :200]).save(tmp_path / "photo.png")
        words = ("--gamma", "--length", 9, "--save-psf", tmp_path / "psf.npy")
        blurred = degraded("blur", *words, source=tmp_path / "photo.png").astype(float)
        psf = np.load(tmp_path / "psf.npy")
        assert psf.sum() == pytest.approx(1, abs=1e-4) and psf.min() >= 0
        photo = read(tmp_path / "photo.png").astype(float)
        expected = np.stack([cv2.filter2D(photo[..., c], -1, psf[::-1, ::-1].astype(float), None, (-1, -1), 0,
                                          cv2.BORDER_REFLECT_101) for c in range(3)], -1)  # fmt: skip
        assert np.abs(blurred - expected).max() <= 0.51
        again = restore("degrade", "blur", *words, "--seed", 3, tmp_path / "photo.png", tmp_path / "b.png")
        assert again.code == 1 and "psf.npy: exists already: no PSF is written over it" in again.err

    @pytest.mark.parametrize("words", [(), ("--varying",), ("--shape", "field"), ("--shape", "disc", "--noise", 2)])
    def test_seeds_and_what_is_kept(self, degraded, tmp_path, words):
        pixels = np.random.default_rng(0).integers(0, 65536, (50, 70), np.uint16)
        source = tmp_path / "deep.png"
        source.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        first = degraded("blur", *words, source=source)
        assert first.shape == (50, 70, 1) and first.dtype == np.uint16 and len(np.unique(first)) > 1000
        assert np.array_equal(degraded("blur", *words, source=source), first)
        assert not np.array_equal(degraded("blur", *words, "--seed", 1, source=source), first)
        assert first.astype(float).std() < 0.7 * pixels.astype(float).std()

    def test_what_is_said_of_it(self, restore, flat, tmp_path):
        ran = restore("degrade", "blur", flat, tmp_path / "out.png", "--shape", "line", "--length", 7, "--angle", 30,
                      "--noise", 2, "--jpeg", 90, "--json")  # fmt: skip
        damage = "a line of 7 px at 30 degrees, linear light, gaussian, sigma 2, JPEG of quality 90, 4:2:0"
        assert json.loads(ran.out)["files"][0]["decisions"]["damage"] == damage


class TestSmaller:
    def test_real_world(self, restore, flat, tmp_path):
        ran = restore("degrade", "real-world", flat, tmp_path / "out.png", "--factor", 3, "--json")
        decisions = json.loads(ran.out)["files"][0]["decisions"]
        assert read(tmp_path / "out.png").shape == (40, 53, 3)
        assert decisions["size"] == "cut to 159 x 120 px, a multiple of 3, first" and "JPEG" in decisions["end"]
        other = restore("degrade", "real-world", flat, tmp_path / "out.png", "--overwrite", "--seed", 1, "--json")
        assert json.loads(other.out)["files"][0]["decisions"]["first pass"] != decisions["first pass"]

    def test_downscale(self, degraded, tmp_path):
        assert (degraded("downscale") == GREY).all() and degraded("downscale").shape == (30, 40, 3)
        assert degraded("downscale", "--factor", 16).shape == (8, 10, 3)

    def test_each_kind_has_its_own_bounds_of_a_factor(self, restore, flat):
        for kind, factor, says in (
            ("downscale", 17, "'17'. It is a number, from 1 to 16"),
            ("downscale", 1, "1.0. It is a number, from 2 to 16"),
            ("real-world", 9, "9.0. It is a number, from 1 to 8"),
            ("resize", 9, "9.0. It is a number, from 1 to 8"),
        ):  # fmt: skip
            ran = restore("degrade", kind, flat, "--factor", factor)
            assert ran.code == 2 and f"--factor cannot be {says}" in ran.err

    def test_a_lossy_file_is_reported(self, restore, flat, tmp_path):
        for kind in ("downscale", "real-world"):
            ran = restore("degrade", kind, flat, tmp_path / f"{kind}.jpg")
            assert ran.code == 0 and "JPEG compresses what was made; .png keeps it as it is" in ran.err


class TestWhatIsKept:
    def test_16_bits(self, degraded, tmp_path):
        source = write_flat(tmp_path / "deep.png", 32896, dtype="uint16")
        noisy = degraded("gaussian", "--sigma", 10, source=source)
        assert noisy.dtype == np.uint16 and noisy.std() == pytest.approx(2570, rel=0.02)
        assert len(np.unique(noisy)) > 5000  # not rounded to 8 bits

    def test_grey(self, degraded, tmp_path):
        source = write_flat(tmp_path / "grey.png", shape=(120, 160))
        for kind in ("gaussian", "camera", "jpeg"):
            assert degraded(kind, source=source).shape == (120, 160, 1)

    def test_alpha(self, degraded, tmp_path):
        pixels = np.full((64, 96, 4), GREY, np.uint8)
        pixels[..., 3] = np.linspace(0, 255, 96).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "alpha.png")
        noisy = degraded("gaussian", source=tmp_path / "alpha.png")
        assert np.array_equal(noisy[..., 3], pixels[..., 3])
        assert (noisy[:, 0, :3] == GREY).all() and noisy[:, 40:, :3].std() > 20  # invisible pixels stay

    def test_metadata(self, restore, tmp_path):
        exif = Image.Exif()
        exif[0x010F] = "Maker"
        Image.new("RGB", (40, 32), (90, 120, 150)).save(tmp_path / "in.jpg", exif=exif, dpi=(300, 300))
        ran = restore("degrade", "gaussian", tmp_path / "in.jpg", tmp_path / "out.png")
        with Image.open(tmp_path / "out.png") as picture:
            assert ran.code == 0 and picture.getexif()[0x010F] == "Maker"

    def test_values_outside_the_range_in_a_float_file(self, degraded, tmp_path):
        source = write_flat(tmp_path / "dark.png", 10)
        free = degraded("gaussian", "--unclipped", "--depth", "float", source=source, out="out.tif")
        assert free.dtype == np.float32 and free.min() < -0.1
        assert free.mean() == pytest.approx(10 / 255, abs=2e-3) and free.std() == pytest.approx(25 / 255, rel=0.02)
        assert np.array_equal(degraded("gaussian", "--depth", "float", source=source, out="out.tif"), free)
        clipped = degraded("gaussian", "--clip", "--depth", "float", source=source, out="out.tif")
        assert np.array_equal(clipped, free.clip(0, 1))

    def test_many_channels(self, degraded, restore, tmp_path):
        tifffile.imwrite(
            tmp_path / "five.tif", np.full((64, 64, 5), GREY, np.uint8), photometric="minisblack", planarconfig="contig"
        )
        noisy = degraded("gaussian", "--sigma", 10, source=tmp_path / "five.tif", out="out.tif")
        assert noisy.shape == (64, 64, 5) and noisy.std() == pytest.approx(10, rel=0.05)
        ran = restore("degrade", "camera", tmp_path / "five.tif", tmp_path / "no.tif")
        assert ran.code == 1 and "a camera has grey or RGB, this picture 5 channels. Use gaussian" in ran.err
        assert not (tmp_path / "no.tif").exists()


class TestSeeds:
    def test_same_seed_same_bytes_whatever_the_workers_and_tiles(self, restore, tmp_path):
        for name in "abc":
            write_flat(tmp_path / "in" / f"{name}.png", 100 + ord(name) % 7, (130, 50, 3))
        for out, words in (("1", ("--workers", 1)), ("2", ("--workers", 3, "--tile", 48))):
            for kind in ("correlated", "camera"):
                ran = restore("degrade", kind, tmp_path / "in", tmp_path / out / kind, "--threads", 1, *words)
                assert ran.code == 0
        for kind in ("correlated", "camera"):
            for name in "abc":
                one, two = ((tmp_path / out / kind / f"{name}.png").read_bytes() for out in "12")
                assert one == two

    def test_jpeg_in_tiles_is_that_of_the_whole(self, degraded, tmp_path):
        data = pytest.importorskip("skimage.data")
        Image.fromarray(data.astronaut()[:120, :200]).save(tmp_path / "photo.png")
        whole = degraded("jpeg", source=tmp_path / "photo.png")
        assert np.array_equal(degraded("jpeg", "--tile", 32, source=tmp_path / "photo.png"), whole)

    def test_another_seed_or_picture_is_other_noise(self, degraded, tmp_path):
        other = write_flat(tmp_path / "other.png", GREY + 1)
        first = degraded("gaussian").astype(float)
        assert np.array_equal(degraded("gaussian"), first)
        for noisy in (degraded("gaussian", "--seed", 1), degraded("gaussian", source=other)):
            assert abs(np.corrcoef(noisy.ravel(), first.ravel())[0, 1]) < 0.02

    def test_levels_share_their_noise(self, degraded):
        """One seed at two levels: the same field, so that levels can be compared."""
        weak, strong = (degraded("gaussian", "--sigma", sigma).astype(float) - GREY for sigma in (10, 20))
        assert np.abs(strong - 2 * weak).max() <= 1.6


class TestFiles:
    def test_folders_keep_their_tree_and_resume(self, restore, tmp_path):
        write_flat(tmp_path / "in" / "a.png")
        write_flat(tmp_path / "in" / "deep" / "b.png", 90)
        words = ("degrade", "gaussian", tmp_path / "in", tmp_path / "out")
        assert restore(*words).code == 0
        actual = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
        assert actual == {"a.png", "deep/b.png"} and (tmp_path / "out" / LEDGER_NAME).exists()
        again = restore(*words, "--resume", "--json")
        assert again.json["summary"]["kept"] == 2
        other = restore(*words, "--resume", "--json", "--sigma", 10)
        assert other.json["summary"]["ok"] == 2

    def test_default_name_and_no_overwriting(self, restore, flat):
        assert restore("degrade", "poisson", flat).code == 0
        assert flat.with_name("flat_degraded.png").exists()
        again = restore("degrade", "poisson", flat)
        assert again.code == 1 and "exists" in again.err and "--overwrite" in again.err

    def test_json_and_dry_run(self, restore, flat, tmp_path):
        plan = restore("degrade", "speckle", flat, tmp_path / "out.png", "--dry-run", "--json")
        assert plan.json["files"][0]["method"] == "speckle" and not (tmp_path / "out.png").exists()
        ran = restore("degrade", "camera", flat, tmp_path / "out.png", "--iso", 1600, "--jpeg", 80, "--json")
        decisions = json.loads(ran.out)["files"][0]["decisions"]
        assert decisions["damage"] == "camera, ISO 1600, JPEG of quality 80, 4:2:0"
        assert decisions["values"] == "clipped and rounded to uint8"

    def test_a_lossy_file_is_reported(self, restore, flat, tmp_path):
        ran = restore("degrade", "gaussian", flat, tmp_path / "out.jpg")
        assert ran.code == 0 and "JPEG compresses what was made; .png keeps it as it is" in ran.err

    def test_a_broken_file_fails_alone(self, restore, flat, tmp_path):
        (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnope")
        ran = restore("degrade", "gaussian", flat, tmp_path / "bad.png", tmp_path / "out")
        assert ran.code == 1 and (tmp_path / "out" / "flat.png").exists() and "1 done, 1 failed" in ran.err


REFUSALS = [
    (("gausian", "IN", "OUT"), "there is no kind of damage 'gausian'. Did you mean 'gaussian'?"),
    ((), "no kind of damage was named. Choose from gaussian, poisson, speckle, salt-pepper, correlated, developed,"),
    (("gaussian",), "no picture was named. Name a picture or a folder, for example: restore degrade gaussian in.png"),
    (("poisson", "IN", "OUT", "--sigma", 5), "--sigma does not go with poisson. It belongs to gaussian or speckle or"),
    (("gaussian", "IN", "OUT", "--photons", 5), "--photons does not go with gaussian. It belongs to poisson"),
    (("gaussian", "IN", "OUT", "--iso", 800), "--iso does not go with gaussian. It belongs to camera"),
    (("gaussian", "IN", "OUT", "--subsampling", "444"), "It belongs to jpeg, or add --jpeg QUALITY"),
    (("jpeg", "IN", "OUT", "--jpeg", 50), "--jpeg does not go with jpeg. It belongs to gaussian or poisson or"),
    (("camera", "IN", "OUT", "--camera", "fone"), "--camera cannot be 'fone'. Did you mean 'phone'?"),
    (("gaussian", "IN", "OUT", "--sigma", "loud"), "--sigma cannot be 'loud'. It is a number, from 0 to 255"),
    (("gaussian", "IN", "OUT", "--sigmma", 5), "there is no option --sigmma. Did you mean '--sigma'?"),
    (("gaussian", "IN", "OUT", "--clip", "--unclipped"), "--clip and --unclipped contradict each other"),
    (("blur", "IN", "OUT", "--shape", "disk"), "--shape cannot be 'disk'. Did you mean 'disc'?"),
    (("blur", "IN", "OUT", "--radius", 3), "--radius does not go with --shape shake. It belongs to disc"),
    (("blur", "IN", "OUT", "--shape", "line", "--varying"), "--varying does not go with --shape line. It belongs to"),
    (
        ("blur", "IN", "OUT", "--varying", "--save-psf", "psf.png"),
        "--save-psf needs a blur that is the same everywhere",
    ),
    (("gaussian", "IN", "--in-place"), "degrade does not replace its inputs. Name an output"),
]


@pytest.mark.parametrize(("words", "message"), REFUSALS)
def test_refusals(restore, flat, tmp_path, words, message):
    places = {"IN": flat, "OUT": tmp_path / "out.png"}
    ran = restore("degrade", *(places.get(word, word) for word in words))
    assert ran.code == 2 and message in ran.err and len(ran.err.splitlines()) == 1
    assert not (tmp_path / "out.png").exists()


def test_unclipped_values_need_a_file_that_holds_them(restore, flat, tmp_path):
    ran = restore("degrade", "gaussian", flat, tmp_path / "out.png", "--unclipped")
    assert ran.code == 1 and not (tmp_path / "out.png").exists()
    assert "PNG with 8 bits cannot hold values below black or above white. Give a float picture, write" in ran.err


def test_names_are_those_of_the_physics() -> None:
    assert tuple(camera.PRESETS) == CAMERAS
    kinds = {kind.replace("-", "_") for kind in TASKS["degrade"].methods}
    assert kinds == {*KINDS, "random", "blur", "downscale", "real_world"}
