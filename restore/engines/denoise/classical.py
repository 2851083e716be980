"""Classical denoisers of maintained packages behind the engine contract, with the noise level estimated for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from restore.analysis.value_range import find_scale
from restore.engines.denoise.noise_level import describe_noise, left_alone, measure_noise
from restore.engines.denoise.options import ClassicalOptions
from restore.errors import UnsupportedError
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec
from restore.picture import PictureSource

Filter = Callable[[np.ndarray, float], np.ndarray]  # H x W x C unit float64, sigma in unit range -> the same


@dataclass(frozen=True)
class Algorithm:
    """A filter, what it needs of the tiler, and whether it works on 8-bit samples only."""

    filter: Filter
    spec: ModelSpec
    eight_bit: bool = False


_NLM_PATCH, _NLM_DISTANCE = 5, 6
_LEAST_SIGMA = 0.25 / 255  # below the rounding to 8 bits there is nothing to remove


def nl_means(picture: np.ndarray, sigma: float) -> np.ndarray:
    """scikit-image's non-local means, h = 0.5 sigma (tuned on two CBSD68 pictures)."""
    from skimage.restoration import denoise_nl_means

    options = {"patch_size": _NLM_PATCH, "patch_distance": _NLM_DISTANCE, "h": 0.5 * sigma, "sigma": sigma}
    if picture.shape[-1] == 1:
        return denoise_nl_means(picture[..., 0], fast_mode=True, **options)[..., None]
    return denoise_nl_means(picture, fast_mode=True, channel_axis=-1, **options)


def wavelet(picture: np.ndarray, sigma: float) -> np.ndarray:
    """scikit-image's BayesShrink wavelet thresholding (db2, YCbCr for RGB), averaged over 16 shifts."""
    from skimage.restoration import denoise_wavelet

    options = {"wavelet": "db2", "convert2ycbcr": picture.shape[-1] == 3, "sigma": sigma, "channel_axis": -1}
    total = np.zeros_like(picture)
    for shift in np.ndindex(4, 4):
        shifted = denoise_wavelet(np.roll(picture, shift, (0, 1)), **options)
        total += np.roll(shifted, (-shift[0], -shift[1]), (0, 1))
    return total / 16


def opencv_nl_means(picture: np.ndarray, sigma: float) -> np.ndarray:
    """OpenCV's fast non-local means, 8-bit, h = sigma."""
    import cv2

    codes, level = np.rint(picture * 255).astype(np.uint8), max(sigma * 255, 0.1)
    if codes.shape[-1] == 3:
        return cv2.fastNlMeansDenoisingColored(codes, None, level, level, 7, 21) / 255.0
    planes = np.ascontiguousarray(np.moveaxis(codes, -1, 0))
    return np.stack([cv2.fastNlMeansDenoising(plane, None, level, 7, 21) for plane in planes], axis=-1) / 255.0


ALGORITHMS = {
    "nlm": Algorithm(
        nl_means, ModelSpec("denoise", "Buades, Coll, Morel 2005 (scikit-image)", radius=_NLM_DISTANCE + _NLM_PATCH)
    ),
    "wavelet": Algorithm(
        wavelet, ModelSpec("denoise", "Chang, Yu, Vetterli, BayesShrink, 2000 (scikit-image)", tiling="whole")
    ),
    "opencv-nlm": Algorithm(
        opencv_nl_means, ModelSpec("denoise", "Buades, Coll, Morel 2011 (OpenCV)", radius=10 + 3), eight_bit=True
    ),
}


class ClassicalEngine:
    """One of `ALGORITHMS`.

    Args:
        options: which; "opencv-nlm" takes 8-bit pictures only.
    """

    def __init__(self, options: ClassicalOptions | None = None) -> None:
        options = options or ClassicalOptions()
        self._algorithm, self._name, self._sigma = ALGORITHMS[options.algorithm], options.algorithm, options.sigma
        self._hot_pixels = options.hot_pixels
        self.spec = self._algorithm.spec
        self.fingerprint = f"classical:{options.algorithm}{options.level_name}"

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        source = sources["picture"]
        if self._algorithm.eight_bit and source.info.dtype != "uint8":
            raise UnsupportedError(
                f"{self._name} works on 8-bit pictures only",
                where=source.info.path,
                fix="Use --algorithm nlm or --method zero-shot, which keep the depth",
            )
        scale = find_scale(source)
        noise = measure_noise(source, scale, self._sigma)
        decisions = {"noise": describe_noise(noise, self._sigma is not None), "method": f"classical {self._name}"}
        return Condition(
            scale, noise.sigma, decisions, noise_level=255 * noise.sigma,
            kept=left_alone(source, scale, noise.sigma, self._hot_pixels),
        )  # fmt: skip

    def cast(self, dtype: torch.dtype, device: torch.device) -> ClassicalEngine:
        return self

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        sigma: float = condition.data
        if sigma < _LEAST_SIGMA:
            return {"result": x[:, 0]}
        results = [self._filtered(picture, sigma) for picture in x[:, 0]]
        return {"result": torch.stack(results).to(x)}

    def _filtered(self, picture: torch.Tensor, sigma: float) -> torch.Tensor:
        pixels = picture.movedim(0, -1).double().cpu().numpy()
        return torch.from_numpy(np.ascontiguousarray(self._algorithm.filter(pixels, sigma))).movedim(-1, 0)
