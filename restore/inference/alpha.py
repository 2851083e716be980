"""Transparency: the colour under alpha = 0 is undefined, so networks must not see it, nor change it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from restore.picture import PictureInfo, PictureSource

_REACH = 16  # pixels: how far colour is carried into transparent regions


class ColourView:
    """The colour samples of a picture, with fully transparent pixels filled from their neighbourhood.

    The fill depends on `_REACH` pixels around, never on where the reading starts, so tiles agree. Pixels
    further from any visible one keep their stored colour: nothing visible can depend on them for long.
    """

    def __init__(self, source: PictureSource) -> None:
        self._source = source
        self.info: PictureInfo = replace(source.info, alpha=False)

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        if not self._source.info.alpha:
            return self._source.read_rows(start, stop)
        first, last = max(0, start - _REACH), min(self.info.height, stop + _REACH)
        rows = self._source.read_rows(first, last)
        return _fill_transparent(rows)[start - first : stop - first]

    def close(self) -> None:
        self._source.close()


def _fill_transparent(rows: np.ndarray) -> np.ndarray:
    import cv2

    colour, visible = rows[..., :-1], rows[..., -1] > 0
    if visible.all():
        return colour

    def box_sum(plane: np.ndarray) -> np.ndarray:
        size = (2 * _REACH + 1, 2 * _REACH + 1)
        return cv2.boxFilter(plane, cv2.CV_64F, size, normalize=False, borderType=cv2.BORDER_CONSTANT)

    weight = box_sum(visible.astype(np.float64))
    filled = colour.copy()
    hole = ~visible & (weight > 0.5)
    for channel in range(colour.shape[-1]):
        mean = box_sum(np.where(visible, colour[..., channel], 0.0))[hole] / weight[hole]
        filled[..., channel][hole] = np.rint(mean) if colour.dtype.kind == "u" else mean
    return filled


def rejoin(result: np.ndarray, stored: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Put alpha back and the stored colour back where the picture is fully transparent.

    Args:
        result: H x W x C restored colour in the target sample type.
        stored: H x W x C colour of the source in the target sample type.
        alpha: H x W alpha of the source in the target sample type.
    """
    colour = np.where(alpha[..., None] > 0, result, stored)
    return np.concatenate([colour, alpha[..., None]], axis=-1)
