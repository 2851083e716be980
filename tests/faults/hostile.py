"""Hostile files, made when they are needed: small on the disk, large or endless when they are believed."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import tifffile

from tests import corpus


def npy(header: bytes, data: bytes = b"") -> bytes:
    """An .npy file with any header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def saved(save: object, *arrays: object, **named: object) -> bytes:
    """What numpy.save or numpy.savez writes."""
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)  # type: ignore[operator]
    return buffer.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    """An .npy file that ends behind its header."""
    return npy(repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n")


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def bomb(name: str, start: bytes, megabytes: int) -> bytes:
    """An archive with one file that begins as said and goes on with zeros, a thousandth of their size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        member.write(start)
        for _ in range(megabytes):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


def claiming_size(archive: bytes, size: int) -> bytes:
    """An archive whose first file claims to unpack to so many bytes."""
    place = archive.index(b"PK\x01\x02") + 24
    return archive[:place] + struct.pack("<L", size) + archive[place + 4 :]


def several_disks(archive: bytes) -> bytes:
    """A zip archive that says it is the second of two disks, also in the 64-bit records that zipfile looks for."""
    end = archive.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 2)
    return archive[:end] + locator + archive[end:]


def laughs(levels: int = 12) -> str:
    """A YAML list that stands for 10**levels words."""
    lists = ["&l0 [x, x, x, x, x, x, x, x, x, x]"]
    lists += [f"&l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return f"[{', '.join(lists)}]"


def tiff_of_kind(photometric: int, samples: int = 1) -> bytes:
    """A TIFF whose photometric tag says something else than what it was written as."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, corpus.pattern(samples=samples).squeeze(), photometric="rgb" if samples == 3 else "minisblack"
    )
    data = bytearray(buffer.getvalue())
    buffer.seek(0)
    with tifffile.TiffFile(buffer) as tif:
        place = tif.pages.first.tags[262].offset
    data[place + 8 : place + 12] = struct.pack("<HH", photometric, 0)
    return bytes(data)


def write_checkerboard(path: Path) -> np.ndarray:
    """Single black and white pixels, RGB."""
    pixels = np.repeat((np.indices((96, 96)).sum(0) % 2 * 255).astype("uint8")[..., None], 3, 2)
    path.write_bytes(corpus.encoded(path.suffix[1:], pixels))
    return pixels


def make_no_file(path: Path, kind: str) -> None:
    """A pipe, a link to a device, or a folder."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
