"""What streams and frames of a clip say beside their pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from restore.errors import counted


def is_cover(stream: Any) -> bool:
    """Whether a track of pictures is a cover."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def holds_chapters(stream: Any) -> bool:
    """Whether a track is where MP4 keeps the titles of chapters, which are carried as chapters."""
    from av.stream import Discard

    return stream.type == "data" and stream.discard == Discard.all


def other_pictures(container: Any, stream: Any) -> tuple[str, ...]:
    """Notes on tracks of pictures beside the one that is read."""
    more = [each for each in container.streams.video if each.index != stream.index and not is_cover(each)]
    return (f"{counted(len(more), 'more video track')} not carried: only the first is restored",) if more else ()


def display_matrix(frame: Any) -> tuple[int, ...] | None:
    """The nine numbers of the display matrix; None: the frame is shown as it is."""
    from av.sidedata.sidedata import Type

    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX:
            return tuple(int(value) for value in np.frombuffer(bytes(data), np.int32)[:9])
    return None


def not_carried(frame: Any) -> tuple[str, ...]:
    """Notes on what frames carry that the result will not."""
    from av.sidedata.sidedata import Type

    kinds = {
        "DOVI_METADATA": "Dolby Vision", "DOVI_RPU_BUFFER": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+",
        "MASTERING_DISPLAY_METADATA": "mastering display (HDR10)", "CONTENT_LIGHT_LEVEL": "content light level (HDR10)",
    }  # fmt: skip
    there = {data.type for data in frame.side_data}
    named = {name for kind, name in kinds.items() if getattr(Type, kind, None) in there}
    return tuple(f"{name} metadata is not carried" for name in sorted(named))


def pictures_of(container: Any) -> int | None:
    """Index of the track whose pictures are read: the first that is no cover; None: there is none."""
    return next((each.index for each in container.streams.video if not is_cover(each)), None)
