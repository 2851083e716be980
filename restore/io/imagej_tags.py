"""ImageJ's own two TIFF tags: LUTs, display ranges, labels, overlays and the rest, as blocks of bytes.

Tag 50839 is "IJIJ", then for each kind its four letters and how many blocks it has, then all blocks; tag 50838 holds
the length of that header and of each block. Numbers, letters and 16-bit characters have the file's byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from restore.picture import TiffTag

COUNTS, BLOCKS = 50838, 50839
_NAMES = {
    b"info": "Info", b"labl": "Labels", b"rang": "Ranges", b"luts": "LUTs", b"plot": "Plot", b"roi ": "ROI",
    b"over": "Overlays", b"prop": "Properties",
}  # fmt: skip
_SWAPPED = {"Info": "u2", "Labels": "u2", "Properties": "u2", "Ranges": "f8"}

Values = dict[str, list[bytes]]
"""Blocks by their kind, little-endian."""


def unpacked(tags: Mapping[int, TiffTag]) -> Values:
    """The blocks of both tags (whose own values are little-endian); none if they do not fit each other."""
    if COUNTS not in tags or BLOCKS not in tags or tags[COUNTS][0] != 4:
        return {}
    data = tags[BLOCKS][1]
    order = {b"IJIJ": ">", b"JIJI": "<"}.get(data[:4])
    sizes = np.frombuffer(tags[COUNTS][1], "<u4").tolist()
    if order is None or sizes[0] < 12 or sizes[0] % 8 != 4 or sum(sizes) != len(data):
        return {}
    values: Values = {}
    at, index = sizes[0], 1
    for place in range(4, sizes[0], 8):
        letters, count = struct.unpack_from(order + "4sI", data, place)
        name = _NAMES.get(letters if order == ">" else letters[::-1])
        if index + count > len(sizes):
            return {}
        for size in sizes[index : index + count]:
            if name:
                values.setdefault(name, []).append(_little(name, data[at : at + size], order))
            at += size
        index += count
    return values


def _little(name: str, block: bytes, order: str) -> bytes:
    form = np.dtype(_SWAPPED.get(name, "u1"))
    if order == "<" or len(block) % form.itemsize:
        return block
    return np.frombuffer(block, form.newbyteorder(">")).astype(form.newbyteorder("<")).tobytes()


def packed(values: Values) -> dict[int, TiffTag]:
    """Both tags of blocks, for a little-endian file."""
    if not values:
        return {}
    letters = {name: key[::-1] for key, name in _NAMES.items()}
    header = b"JIJI" + b"".join(letters[name] + struct.pack("<I", len(blocks)) for name, blocks in values.items())
    blocks = [block for each in values.values() for block in each]
    sizes = struct.pack(f"<{1 + len(blocks)}I", len(header), *map(len, blocks))
    return {COUNTS: (4, sizes), BLOCKS: (1, header + b"".join(blocks))}


def of_first_page(values: Values) -> Values:
    """What holds for the first page of a stack alone."""
    kept = {name: blocks[:1] if name in ("LUTs", "Labels") else blocks for name, blocks in values.items()}
    return kept | ({"Ranges": [values["Ranges"][0][:16]]} if "Ranges" in values else {})
