"""Clean pictures made noisy: a random mixture of kinds and levels (`restore.physics.noise`), or one of them exactly.

Training draws a mixture for each crop, `restore degrade` one for each picture: both are a `NoiseRecipe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.color import to_luma
from restore.physics.level import level_map, noise_curve
from restore.physics.noise_mixture import (
    FULL,
    KINDS,
    NO_JPEG,
    NoisePlan,
    NoiseRecipe,
    degrade,
)

# kind -> what to say of it: name, parameter of the plan, factor to the unit people know
_SHOWN = {
    "gaussian": (("sigma", "sigma", 255),),
    "poisson": (("photons", "photons", 1),),
    "speckle": (("sigma at white", "speckle", 255),),
    "salt_pepper": (("share", "impulses", 1),),
    "correlated": (("sigma", "coarse_sigma", 255), ("blur", "blur", 1)),
    "resize": (("sigma", "coarse_sigma", 255), ("factor", "factor", 1)),
    "developed": (("sigma", "developed", 255), ("luma blur", "luma_blur", 1), ("chroma blur", "chroma_blur", 1)),
    "grain": (("sigma", "developed", 255), ("blur", "luma_blur", 1)),
    "camera": (("ISO", "camera iso", 1),),
}

# (kind, option) -> field of `NoiseRecipe`, where it is named otherwise
_FIELDS = {
    ("speckle", "sigma"): "speckle",
    ("salt-pepper", "share"): "impulses",
    ("correlated", "sigma"): "coarse_sigma",
    ("resize", "sigma"): "coarse_sigma",
    ("developed", "sigma"): "developed",
    ("grain", "sigma"): "developed",
}


class NoiseDegradation:
    """Input "picture", target "result", condition "noise_level": a map B x 1 x H x W in units of [0, 1].

    Where the data hold damaged counterparts (role "picture"), those are taken as they are.

    Args:
        grey_every: every n-th item of a batch is shown in grey (luma, the same noise in all channels), so that a
            colour network learns grey pictures too; 0: none.
        recipe: fields of `restore.physics.noise_mixture.NoiseRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = {**CLEAN, "picture": Role(optional=True)}
    conditions = ("noise_level",)

    def __init__(self, grey_every: int = 0, **recipe: Any) -> None:
        self.recipe = noise_recipe(**validated("degradation 'noise'", NoiseRecipe, recipe, beside=["grey_every"]))
        self.grey_every = grey_every

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = pictures["clean"]
        with torch.autocast(clean.device.type, enabled=False):
            if "picture" in pictures:
                noisy = pictures["picture"]
                return _sample(noisy, clean, level_map(noisy, noise_curve(noisy - clean, clean)))
            done = degrade(clean, self.recipe, seed, step, first_index)
            noisy, level = done.noisy, done.level_map
            grey = [i for i in range(len(clean)) if self.grey_every and (first_index + i) % self.grey_every == 0]
            clean = clean.clone() if grey else clean
            for i in grey:
                luma = to_luma(clean[i : i + 1])
                one = degrade(luma, self.recipe, seed, step, first_index + i)
                clean[i], noisy[i], level[i] = luma[0], one.noisy[0], one.level_map[0]
        return _sample(noisy, clean, level)


def _sample(noisy: Tensor, clean: Tensor, level: Tensor) -> Sample:
    return Sample({"picture": noisy}, {"result": clean}, {"noise_level": level})


def noise_recipe(**fields: Any) -> NoiseRecipe:
    """A recipe of fields that differ from the usual. Raises `ConfigError` for what describes no noise."""
    try:
        return NoiseRecipe(**fields)
    except (TypeError, ValueError) as error:
        raise ConfigError("degradation.arguments describe no noise", why=str(error)) from error


def recipe_of(kind: str, values: Mapping[str, Any]) -> NoiseRecipe:
    """The recipe of one kind of damage with what people say of it; what is to be exact has a range of one value.

    Args:
        kind: of `restore.physics.noise_mixture.KINDS` (salt-pepper too), or "random": one of them.
        values: sigma (8-bit units), photons, share, blur, dependence, factor, quality, camera, iso, jpeg (a quality)
            and subsampling ("420", "444"), as far as the kind has them; None: drawn, or the usual.
    Raises:
        ConfigError: no such kind or camera.
    """
    jpeg = values.get("jpeg")
    fields: dict[str, Any] = {"clipped": 0.0} if kind == "random" else {"clipped": 0.0, "roundness": (1.0, 1.0)}
    for name in ("sigma", "photons", "share", "blur", "dependence", "factor", "quality", "iso"):
        if values.get(name) is not None:
            unit = 255 if (kind, name) == ("speckle", "sigma") else 1
            fields[_FIELDS.get((kind, name), name)] = (values[name] / unit, values[name] / unit)
    if values.get("camera"):
        fields["cameras"] = (values["camera"],)
    if kind != "random":
        fields["camera_jpeg"] = 0.0
    if jpeg:
        fields |= {"jpeg": 1.0, "camera_jpeg": 1.0, "quality": (jpeg, jpeg), "camera_quality": (jpeg, jpeg)}
    if kind != "random" or values.get("subsampling"):
        fields["subsampled"] = float(values.get("subsampling") != "444")
    drawn = KINDS[1:] if kind == "random" else (kind.replace("-", "_"),)
    return noise_recipe(weights=dict.fromkeys(drawn, 1.0), **fields)


def without_colour(recipe: NoiseRecipe) -> NoiseRecipe:
    """The same mixture without what only grey or RGB can have: noise of cameras, developed pictures and film, JPEG."""
    colour = ("camera", "developed", "grain", "jpeg")
    weights = {kind: weight for kind, weight in recipe.weights.items() if kind not in colour}
    return replace(recipe, weights=weights)


def describe(plan: NoisePlan) -> str:
    """What becomes of the first picture of a plan, in words."""
    kind, format_ = KINDS[plan.kinds[0]], plan.formats[0]
    words = [] if kind in ("none", "jpeg") else [kind.replace("_", "-")]
    words += [f"{name} {float(plan.values[value][0]) * unit:.4g}" for name, value, unit in _SHOWN.get(kind, ())]
    if format_ != NO_JPEG:
        chroma = "4:4:4" if format_ == FULL else "4:2:0"
        words.append(f"JPEG of quality {int(plan.values['quality'][0])}, {chroma}")
    return ", ".join(words) or "none"
