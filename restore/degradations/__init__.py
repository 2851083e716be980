"""Ways to damage clean pictures: one file for each kind, built by name; over `restore.physics`.

Importing this package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from restore.building import made, validated, with_tuples
from restore.naming import imported

if TYPE_CHECKING:
    from restore.degradations.degradation import Degradation

DEGRADATIONS: dict[str, str] = {
    "noise": "restore.degradations.noise:NoiseDegradation",
    "blur": "restore.degradations.blur:BlurDegradation",
    "camera_blur": "restore.degradations.camera_blur:CameraBlurDegradation",
    "clip_blur": "restore.degradations.clip_blur:ClipBlurDegradation",
    "frame_average": "restore.degradations.frame_average:FrameAverageDegradation",
    "downscale": "restore.degradations.downscale:DownscaleDegradation",
    "real_world": "restore.degradations.real_world:RealWorldDegradation",
    "reflection": "restore.degradations.reflection:ReflectionDegradation",
    "pairs": "restore.degradations.given:GivenPairs",
    "none": "restore.degradations.given:Undamaged",
}


def build(name: str, /, **arguments: Any) -> Degradation:
    """A degradation: a key of `DEGRADATIONS`, "my_pkg.my_file:MyDamage" or "my_file.py:MyDamage".

    Raises `ConfigError` for an unknown name, an unknown argument (naming the nearest) or a wrong value.
    """
    constructor = imported(name, DEGRADATIONS, "degradation", "MyDamage")
    what = f"degradation {name!r}"
    return made(what, constructor, validated(what, constructor, with_tuples(arguments)))
