"""Degradations by name: what they draw, that it is a function of (seed, step, item), and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from restore import degradations
from restore.degradations.blur import BlurDegradation
from restore.degradations.degradation import Role
from restore.degradations.given import GivenPairs, Undamaged
from restore.degradations.noise import NoiseDegradation
from restore.errors import ConfigError
from restore.physics.color import to_luma
from restore.physics.noise import KINDS, NoiseRecipe, degrade

CLEAN = torch.rand(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))
MAKERS = {
    "noise": lambda: NoiseDegradation(grey_every=3, weights=dict.fromkeys(KINDS, 1.0)),
    "blur": lambda: BlurDegradation(bank=6),
    "pairs": GivenPairs,
    "none": Undamaged,
}


def pictures(first: int = 0, count: int = 6) -> dict[str, torch.Tensor]:
    part = CLEAN[first : first + count]
    return {"clean": part, "picture": part / 2}


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
    shown = {role: x for role, x in pictures().items() if role in roles}
    whole = values(damage.draw(shown, 4, 7, 0))
    parts = [
        values(damage.draw({role: x[first : first + 2] for role, x in shown.items()}, 4, 7, first))
        for first in (0, 2, 4)
    ]
    for key, x in whole.items():
        torch.testing.assert_close(torch.cat([part[key] for part in parts]), x, rtol=0, atol=2e-6, msg=key)
    assert torch.equal(before, CLEAN)
    if name in ("noise", "blur"):
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
