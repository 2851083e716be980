"""A photograph that a camera has shaken."""

from __future__ import annotations

import torch

from restore.physics.camera_blur import CameraBlurRecipe, blur_as_camera


def picture(size: int = 256, blur: float = 0.0, seed: int = 0, varying: bool = False) -> tuple[torch.Tensor, ...]:
    """(blurred, clean) photographs 1 x 3 x size x size of scikit-image, shaken by `blur` px in linear light."""
    from skimage.data import astronaut

    whole = torch.from_numpy(astronaut().copy()).movedim(-1, 0)[None].float() / 255
    kinds = {"shake": 1.0} if blur else {"none": 1.0}
    recipe = CameraBlurRecipe(
        weights=kinds, length=(blur or 1.0, blur or 1.0), varying=float(varying), linear=1.0, lights=(1.0, 1.0),
        noise=(1.0, 1.0), jpeg=0.0,
    )  # fmt: skip
    made = blur_as_camera(whole, recipe, seed, 0, 0)
    top = (made.clean.shape[-1] - size) // 2
    inner = (..., slice(top, top + size), slice(top, top + size))
    return made.blurred[inner].contiguous(), made.clean[inner].contiguous()
