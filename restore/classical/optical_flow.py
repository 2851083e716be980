"""Motion between two pictures, of every pixel.

Source: Kroeger, Timofte, Dai, Van Gool, "Fast optical flow using dense inverse search", ECCV 2016, as OpenCV has it.
"""

from __future__ import annotations

import numpy as np

_PATCH = 16  # px, of the search


def dense_motion(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where b shows what a has: b(p + motion(p)) = a(p). The same whatever the number of threads.

    Args:
        a, b: H x W each, values in 8-bit units.
    Returns:
        H x W x 2 float32, (right, down), px.
    """
    import cv2

    height, width = a.shape
    below = max(width // 2 - height, 0)  # OpenCV picks the scales by the width and crashes on flat pictures
    pair = [cv2.copyMakeBorder(x, 0, below, 0, 0, cv2.BORDER_REPLICATE).round().clip(0, 255) for x in (a, b)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setPatchSize(_PATCH)
    flow = np.zeros((height + below, width, 2), np.float32)
    return search.calc(pair[0].astype(np.uint8), pair[1].astype(np.uint8), flow)[:height]
