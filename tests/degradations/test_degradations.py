"""Degradations by name: what they draw, that it is a function of (seed, step, item), and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from restore import degradations
from restore.degradations.blur import BlurDegradation
from restore.degradations.camera_blur import CameraBlurDegradation
from restore.degradations.clip_blur import ClipBlurDegradation
from restore.degradations.degradation import Role
from restore.degradations.downscale import DownscaleDegradation
from restore.degradations.frame_average import FrameAverageDegradation
from restore.degradations.given import GivenPairs, Undamaged
from restore.degradations.noise import NoiseDegradation
from restore.degradations.real_world import RealWorldDegradation
from restore.degradations.reflection import ReflectionDegradation
from restore.errors import ConfigError
from restore.physics import reflection
from restore.physics.color import to_luma
from restore.physics.noise_mixture import KINDS, NoiseRecipe, degrade
from restore.physics.random import generator_for
from restore.physics.real_world import SECOND, PassRecipe, RealWorldRecipe, degrade_real_world, plan_real_world
from restore.physics.resample import resize

CLEAN = torch.rand(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))
MAKERS = {
    "noise": lambda: NoiseDegradation(grey_every=3, weights=dict.fromkeys(KINDS, 1.0)),
    "blur": lambda: BlurDegradation(bank=6),
    "camera_blur": lambda: CameraBlurDegradation(
        length=[1, 2], radius=[0.5, 0.5], weights={"shake": 1.0, "field": 1.0}
    ),
    "clip_blur": lambda: ClipBlurDegradation(reach=4, still=0.0, depth=0.5),
    "frame_average": lambda: FrameAverageDegradation(3),
    "downscale": DownscaleDegradation,
    "real_world": lambda: RealWorldDegradation(share_clean=0.3),
    "reflection": lambda: ReflectionDegradation(weights=dict.fromkeys(reflection.KINDS, 1.0), ghost=0.5),
    "pairs": GivenPairs,
    "none": Undamaged,
}


def pictures(first: int = 0, count: int = 6) -> dict[str, torch.Tensor]:
    part = CLEAN[first : first + count]
    return {"clean": part, "picture": part / 2, "reflection": part.flip(1)}


def in_frames(x: torch.Tensor, role: Role) -> torch.Tensor:
    """Pictures as the role has them: a clip moves to the right by a pixel a frame."""
    return x if role.frames == 1 else torch.stack([x.roll(shift, -1) for shift in range(role.frames)], 1)


def test_every_degradation_of_the_table_has_an_entry():
    assert set(MAKERS) == set(degradations.DEGRADATIONS)


def values(sample) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": x for part in ("inputs", "targets", "conditions")
            for name, x in getattr(sample, part).items()}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_a_sample_is_a_function_of_seed_step_and_item(name):
    """However the batch is divided; the pictures that are shown are left as they are."""
    damage, before = MAKERS[name](), CLEAN.clone()
    roles = [role for role in damage.roles if not damage.roles[role].optional]
    shown = {role: in_frames(x, damage.roles[role]) for role, x in pictures().items() if role in roles}
    whole = values(damage.draw(shown, 4, 7, 0))
    parts = [
        values(damage.draw({role: x[first : first + 2] for role, x in shown.items()}, 4, 7, first))
        for first in (0, 2, 4)
    ]
    for key, x in whole.items():
        torch.testing.assert_close(torch.cat([part[key] for part in parts]), x, rtol=0, atol=2e-6, msg=key)
    assert torch.equal(before, CLEAN)
    if name in ("noise", "blur", "camera_blur", "clip_blur", "real_world", "reflection"):
        for other in ((5, 7, 0), (4, 8, 0), (4, 7, 1)):
            assert not torch.equal(values(damage.draw(shown, *other))["inputs.picture"], whole["inputs.picture"])
    assert set(damage.conditions) == {key.partition(".")[2] for key in whole if key.startswith("conditions")}


def test_noise_is_that_of_its_recipe_and_every_third_item_is_grey():
    recipe = {"weights": {"gaussian": 1.0}, "sigma": [25, 25], "clipped": 0.0}
    sample = degradations.build("noise", **recipe, grey_every=3).draw({"clean": CLEAN}, 1, 2, 1)
    plain = degrade(CLEAN, NoiseRecipe(weights={"gaussian": 1.0}, sigma=(25, 25), clipped=0.0), 1, 2, 1)
    for item in range(6):
        grey = (1 + item) % 3 == 0
        luma = to_luma(CLEAN[item : item + 1]).expand(-1, 3, -1, -1)[0]
        assert torch.equal(sample.targets["result"][item], luma if grey else CLEAN[item])
        shown = sample.inputs["picture"][item]
        assert torch.equal(shown[0] - luma[0], shown[1] - luma[1]) if grey else torch.equal(shown, plain.noisy[item])
    assert torch.allclose(sample.conditions["noise_level"], torch.tensor(25 / 255), rtol=0.1)


def test_pictures_that_are_noisy_already_are_taken_as_they_are():
    noisy = CLEAN + 0.1 * torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(1))
    sample = NoiseDegradation().draw({"clean": CLEAN, "picture": noisy}, 0, 0, 0)
    assert sample.inputs["picture"] is noisy and sample.targets["result"] is CLEAN
    assert sample.conditions["noise_level"].mean() == pytest.approx(0.1, rel=0.1)


def test_given_pairs_and_undamaged_pictures():
    sample = GivenPairs(0.25).draw(pictures(), 0, 0, 0)
    assert torch.equal(sample.inputs["picture"], CLEAN / 2) and torch.equal(sample.targets["result"], CLEAN)
    assert GivenPairs(0.25).roles["picture"].scale == 0.25
    alone = Undamaged().draw({"clean": CLEAN}, 0, 0, 0)
    assert alone.inputs["picture"] is CLEAN and not alone.targets


def test_blurred_samples_say_psf_and_level():
    smooth = torch.linspace(0.2, 0.8, 96).expand(6, 3, 96, 96)
    sample = BlurDegradation(sigma=(10, 10), clipped=0.0, bank=6).draw({"clean": smooth}, 0, 0, 0)
    assert sample.conditions["psf"].sum((1, 2, 3)) == pytest.approx(torch.ones(6), abs=1e-5)
    error = (sample.inputs["picture"] - sample.targets["blurred"]).std()
    assert error == pytest.approx(10 / 255, rel=0.05)
    assert torch.allclose(sample.conditions["noise_level"], error.expand(6, 1, 1, 1), rtol=0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("blurr", {}, "no degradation is called 'blurr'. Did you mean 'blur'"),
        ("noise", {"sigms": 3}, "no argument 'sigms'. Did you mean 'sigma'"),
        ("noise", {"grey_evry": 3}, "no argument 'grey_evry'. Did you mean 'grey_every'"),
        ("noise", {"grey_every": "often"}, "argument grey_every cannot be 'often'"),
        ("blur", {"bank": 0}, r"degradation\.arguments describe no blur \(.*bank is 1 or more"),
        ("camera_blur", {"lenght": [1, 2]}, "no argument 'lenght'. Did you mean 'length'"),
        ("camera_blur", {"varying": 2.0}, r"degradation\.arguments describe no blur \(varying is 2"),
        ("clip_blur", {"lenght": [1, 2]}, "no argument 'lenght'. Did you mean 'length'"),
        ("frame_average", {"frames": 4}, r"frames is 4\. Give an odd number of 3 or more"),
        ("frame_average", {"linaer": 1.0}, "no argument 'linaer'. Did you mean 'linear'"),
        ("frame_average", {"lights": [0, 1]}, r"arguments describe no average \(lights is"),
        ("downscale", {"factor": 1}, r"factor is 1\. Give a whole number from 2 to 16"),
        ("downscale", {"flat": 1.1}, r"flat is 1\.1\. Give a share from 0 to 1"),
        ("real_world", {"flat": -0.1}, r"flat is -0\.1\. Give a share from 0 to 1"),
        ("real_world", {"factor": 9}, r"factor is 9\. Give a whole number from 1 to 8"),
        ("real_world", {"share_cleen": 0.1}, "no argument 'share_cleen'. Did you mean 'share_clean'"),
        ("real_world", {"secund": {}}, "no argument 'secund'. Did you mean 'second'"),
        ("real_world", {"first": {"sigm": [0, 1]}}, "first has no argument 'sigm'. Did you mean 'sigma'"),
        ("real_world", {"first": {"sigma": "big"}}, "first: argument sigma cannot be 'big'"),
        ("real_world", {"second": {"scale": [0.2, 0.9]}}, r"describe no damage \(scale is .* ends at 1 or above"),
        ("pairs", {"scale": "small"}, "argument scale cannot be 'small'"),
        ("none", {"scale": 1}, "degradation 'none' has no argument 'scale'"),
    ],
)
def test_wrong_descriptions_are_refused(name, arguments, says):
    with pytest.raises(ConfigError, match=says):
        degradations.build(name, **arguments)


@pytest.mark.parametrize("scale", [0, -1, 0.1234567])
def test_scales_that_are_no_simple_fraction_are_refused(scale):
    with pytest.raises(ConfigError, match="scale"):
        degradations.build("pairs", scale=scale)


def test_thirds_are_exact():
    assert Role(0.3333).ratio == Role(1 / 3).ratio == Fraction(1, 3)
    with pytest.raises(ConfigError, match="cannot have 0 frames"):
        Role(frames=0)


def test_crops_that_no_blur_fits_into_are_refused():
    with pytest.raises(ConfigError, match=r"up to 37 px wide, the pictures have 32 px\. Set data\.crop to 37"):
        BlurDegradation(bank=6).draw({"clean": CLEAN[..., :32]}, 0, 0, 0)
    with pytest.raises(
        ConfigError, match=r"blurs cut off 20 px at every side, the pictures have 40 px\. Set data\.crop to 72"
    ):
        CameraBlurDegradation().draw({"clean": CLEAN}, 0, 0, 0)


def test_pictures_of_a_moving_camera_come_without_their_margin():
    damage = MAKERS["camera_blur"]()
    sample, margin = damage.draw({"clean": CLEAN}, 1, 2, 3), damage.recipe.margin
    assert torch.equal(sample.targets["result"], CLEAN[..., margin:-margin, margin:-margin])
    assert sample.inputs["picture"].shape == sample.targets["result"].shape and eight_bits(sample.inputs["picture"])
    assert sample.conditions["varying"].shape == (6, 1, 1, 1) and sample.conditions["psf"].shape[:2] == (6, 1)


def test_frames_are_averaged_around_the_middle_one():
    frames = in_frames(CLEAN, Role(frames=5))
    sample = FrameAverageDegradation(5, linear=0.0, lights=[1, 1], noise=False).draw({"clean": frames}, 0, 0, 0)
    assert torch.equal(sample.targets["result"], frames[:, 2])
    assert torch.allclose(sample.inputs["picture"], frames.mean(1), atol=1e-6)


def eight_bits(x: torch.Tensor) -> bool:
    return torch.equal((x * 255).round() / 255, x) and bool(x.min() >= 0) and bool(x.max() <= 1)


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_smaller_pictures_are_those_of_bicubic_resampling_in_8_bits(factor):
    clean = CLEAN * 1.6 - 0.3  # beyond black and white
    sample = degradations.build("downscale", factor=factor).draw({"clean": clean}, 1, 2, 3)
    small = sample.inputs["picture"]
    assert small.shape == (6, 3, 40 // factor, 40 // factor) and eight_bits(small)
    exact = resize(clean, (40 // factor, 40 // factor)).clamp(0, 1)
    assert (small - exact).abs().max() <= 0.5 / 255 + 1e-6
    assert sample.targets["result"] is clean
    again = DownscaleDegradation(factor).draw({"clean": clean}, 7, 8, 9)
    assert torch.equal(again.inputs["picture"], small)


@pytest.mark.parametrize("name", ["downscale", "real_world"])
def test_a_share_of_the_samples_is_of_one_colour(name):
    clean = CLEAN.repeat(40, 1, 1, 1)
    truth = degradations.build(name, flat=0.25).draw({"clean": clean}, 1, 2, 3).targets["result"]
    flat = (truth == truth[..., :1, :1]).flatten(1).all(1)
    assert 0.15 < flat.double().mean() < 0.35  # of 240
    assert torch.equal(truth[~flat], clean[~flat]) and eight_bits(truth[flat])
    values = truth[flat][..., 0, 0]
    assert 0.2 < ((values == 0) | (values == 1)).double().mean() < 0.47
    assert values.std() > 0.25 and len(values.unique(dim=0)) > 0.9 * len(values)
    later = degradations.build(name, flat=0.25).draw({"clean": clean[6:]}, 1, 2, 9).targets["result"]
    assert torch.equal(later, truth[6:])  # a function of the sample's number


def test_one_colour_is_kept_by_making_it_smaller():
    sample = degradations.build("downscale", flat=1.0).draw({"clean": CLEAN}, 1, 2, 3)
    assert torch.equal(sample.inputs["picture"], sample.targets["result"][..., :10, :10])


@pytest.mark.parametrize("name", ["downscale", "real_world"])
def test_sides_that_the_factor_does_not_divide_are_refused(name):
    with pytest.raises(ConfigError, match=r"40 x 39 px cannot become smaller by 4\. Set data\.crop to a multiple of 4"):
        MAKERS[name]().draw({"clean": CLEAN[..., :39]}, 0, 0, 0)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_pictures_from_the_wild_are_smaller_by_the_factor_in_8_bits(factor):
    sample = degradations.build("real_world", factor=factor).draw({"clean": CLEAN}, 1, 2, 3)
    assert sample.inputs["picture"].shape == (6, 3, 40 // factor, 40 // factor)
    assert eight_bits(sample.inputs["picture"])
    assert sample.targets["result"] is CLEAN


def test_fields_of_a_pass_leave_the_others_as_that_pass_has_them():
    made = RealWorldDegradation(first={"noise": [2, 3]}, second={"blur": 0.5}, sinc=0.1)
    assert made.recipe == RealWorldRecipe(PassRecipe(noise=(2.0, 3.0)), replace(SECOND, blur=0.5), sinc=0.1)


def test_a_share_is_only_made_smaller():
    recipe = RealWorldRecipe(share_clean=1.0, clean_jpeg=0.5)
    plans = [plan_real_world(recipe, generator_for(3, 4, item)) for item in range(6)]
    assert 0 < sum(plan.quality > 0 for plan in plans) < 6
    made, small = degrade_real_world(CLEAN, recipe, 4, 3, 4, 0), DownscaleDegradation().draw({"clean": CLEAN}, 0, 0, 0)
    for item, plan in enumerate(plans):
        assert torch.equal(made[item], small.inputs["picture"][item]) == (plan.quality == 0)
