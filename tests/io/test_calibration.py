"""What a TIFF says of its samples in space and time survives stacks and single pages, or a note says what did not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from restore.io import read_picture, write_picture
from restore.io.calibration import scaled
from restore.io.codecs import ReadOptions, SaveOptions, create_stack, open_frames, target_info
from restore.picture import Picture, PictureInfo
from tests import corpus

T, Z, C, H, W = 2, 3, 2, 24, 32
DATA = np.stack([corpus.pattern(H, W, 1, "uint16", seed=n)[:, :, 0] for n in range(T * Z * C)]).reshape(T, Z, C, H, W)
LUTS = [np.zeros((3, 256), np.uint8) for _ in range(C)]
LUTS[0][1] = LUTS[1][0] = np.arange(256)
PER_UM = (200, 13)  # pixels of 0.065
LABELS = [f"plane {n}" for n in range(T * Z * C)]
IMAGEJ = {
    "axes": "TZCYX", "spacing": 0.3, "unit": "um", "finterval": 5.0, "LUTs": LUTS, "mode": "composite", "min": 10.0,
    "max": 900.0, "Ranges": (10.0, 900.0, 20.0, 700.0), "Labels": LABELS, "Info": "objective: 63x µ",
    "Properties": {"lens": "63x"},
}  # fmt: skip
OME = {
    "axes": "TZCYX", "PhysicalSizeX": 0.065, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.07,
    "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 0.3, "PhysicalSizeZUnit": "µm", "TimeIncrement": 5.0,
    "SignificantBits": 12, "Channel": {"Name": ["GFP", "RFP"]},
}  # fmt: skip


def imagej(path: Path, data: np.ndarray = DATA, **options) -> Path:
    tifffile.imwrite(path, data, imagej=True, resolution=(1 / 0.065, 1 / 0.065), **{"metadata": IMAGEJ, **options})
    return path


def ome(path: Path, data: np.ndarray = DATA, **options) -> Path:
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", **{"metadata": OME, **options})
    return path


def copy_stack(path: Path, target: Path, save: SaveOptions | None = None, pages: int | None = None) -> list[str]:
    """All pages (or the first few) from one file into another; gives back the notes of the writer."""
    sources = list(open_frames(path))[:pages]
    stack = create_stack(target, DATA.nbytes, save, pages=len(sources))
    notes: dict[str, None] = {}
    for source in sources:
        page = stack.next_frame(source.info)
        notes |= dict.fromkeys(note for note in page.info.notes if note not in source.info.notes)
        page.write_rows(source.read_rows(0, source.info.height).astype(page.info.dtype))
        page.commit()
    stack.commit()
    return list(notes)


def first_page(path: Path, target: Path, save: SaveOptions | None = None) -> tuple[str, ...]:
    picture = read_picture(path, ReadOptions(frames="first"))
    info = target_info(picture.info, target, save)
    write_picture(picture, target, save)
    return tuple(note for note in info.notes if note not in picture.info.notes)


def facts(path: Path) -> dict[str, object]:
    """What tifffile reads of a file, all pages counted."""
    with tifffile.TiffFile(path) as tif:
        page, series = tif.pages.first, tif.series[0]
        return {
            "axes": series.axes, "shape": series.shape, "pages": len(tif.pages), "series": len(tif.series),
            "ij": tif.imagej_metadata, "ome": tif.ome_metadata, "data": series.asarray(),
            "tags": {code: page.tags[code].value for code in (282, 283, 296) if code in page.tags},
            "description": page.description,
        }  # fmt: skip


def pixels_of(xml: str) -> ElementTree.Element:
    found = ElementTree.fromstring(xml).find(".//{*}Pixels")
    assert found is not None
    return found


def same_metadata(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


# --- stacks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", ["fast", "none"])
def test_a_hyperstack_of_imagej_keeps_everything(byteorder: str, compression: str, tmp_path: Path) -> None:
    source = imagej(tmp_path / "in.tif", byteorder=byteorder)
    assert copy_stack(source, tmp_path / "out.tif", SaveOptions(compression=compression)) == []
    before, after = facts(source), facts(tmp_path / "out.tif")
    assert (after["axes"], after["shape"]) == ("TZCYX", DATA.shape) and after["pages"] == DATA[..., 0, 0].size
    assert np.array_equal(after["data"], DATA), "the order of pages, too"
    assert after["tags"] == {282: PER_UM, 283: PER_UM, 296: 1} == before["tags"]
    assert same_metadata(after["ij"], before["ij"]) and after["description"] == before["description"]
    assert after["ij"]["Labels"] == LABELS and np.array_equal(after["ij"]["LUTs"], LUTS)
    assert after["ij"]["Ranges"] == (10.0, 900.0, 20.0, 700.0) and after["ij"]["Info"] == "objective: 63x µ"
    assert (after["ij"]["unit"], after["ij"]["spacing"], after["ij"]["finterval"]) == ("um", 0.3, 5.0)


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "CYX", "TCYX", "ZCYX", "TZYX"])
def test_stacks_of_fewer_axes(axes: str, tmp_path: Path) -> None:
    data = DATA.reshape(-1, H, W)[: 4 if len(axes) == 4 else 3].reshape(*((2, 2) if len(axes) == 4 else (3,)), H, W)
    for kind, write in (("ij", imagej), ("ome", ome)):
        source = write(tmp_path / f"{kind}.tif", data, metadata={"axes": axes})
        assert copy_stack(source, tmp_path / "out.tif") == []
        after = facts(tmp_path / "out.tif")
        assert (after["axes"], after["shape"]) == (axes, data.shape) and np.array_equal(after["data"], data)


def test_ome_is_carried_byte_for_byte(tmp_path: Path) -> None:
    source = ome(tmp_path / "in.ome.tif", resolution=(153846, 142857), resolutionunit="CENTIMETER")
    assert copy_stack(source, tmp_path / "out.ome.tif") == []
    before, after = facts(source), facts(tmp_path / "out.ome.tif")
    assert after["ome"] == before["ome"] and after["tags"] == before["tags"] and after["tags"][296] == 3
    assert (after["axes"], after["shape"], after["series"]) == ("TZCYX", DATA.shape, 1)
    assert np.array_equal(after["data"], DATA)


def test_axes_of_tifffile_are_carried(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", DATA, photometric="minisblack", metadata={"axes": "TZCYX", "lens": "63x"})
    assert copy_stack(tmp_path / "in.tif", tmp_path / "out.tif") == []
    after = facts(tmp_path / "out.tif")
    assert (after["axes"], after["shape"]) == ("TZCYX", DATA.shape) and '"lens": "63x"' in str(after["description"])


def test_another_sample_type_is_written_into_the_xml(tmp_path: Path) -> None:
    assert copy_stack(ome(tmp_path / "in.tif"), tmp_path / "out.tif", SaveOptions(depth="float")) == []
    after = facts(tmp_path / "out.tif")
    pixels = pixels_of(str(after["ome"]))
    assert pixels.get("Type") == "float" and pixels.get("SignificantBits") is None
    assert (pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit")) == ("0.065", "µm")
    assert [one.get("Name") for one in pixels.findall("{*}Channel")] == ["GFP", "RFP"]
    assert after["axes"] == "TZCYX" and np.array_equal(after["data"], DATA.astype(np.float32))


def test_display_ranges_do_not_outlive_the_sample_type(tmp_path: Path) -> None:
    notes = copy_stack(imagej(tmp_path / "in.tif"), tmp_path / "out.tif", SaveOptions(depth="float"))
    assert notes == [
        "display range of ImageJ (min, max) not carried: the sample type changed",
        "display ranges of ImageJ not carried: the sample type changed",
    ]
    after = facts(tmp_path / "out.tif")["ij"]
    assert after.keys().isdisjoint({"min", "max", "Ranges"}) and np.array_equal(after["LUTs"], LUTS)
    assert (after["slices"], after["unit"]) == (3, "um")


def test_a_stack_of_other_length_says_what_is_lost(tmp_path: Path) -> None:
    notes = copy_stack(imagej(tmp_path / "ij.tif"), tmp_path / "out.tif", pages=5)
    words = "axes of ImageJ (images 12, channels 2, slices 3, frames 2) not carried: 5 pages are written"
    after = facts(tmp_path / "out.tif")
    assert notes == [words] and after["ij"]["images"] == 5 and after["ij"]["unit"] == "um"
    assert (after["axes"], after["shape"]) == ("TYX", (5, H, W))
    notes = copy_stack(ome(tmp_path / "ome.tif"), tmp_path / "out.tif", pages=5)
    assert len(notes) == 1 and notes[0].startswith("OME-XML (SizeZ 3, SizeC 2, SizeT 2, PhysicalSizeX 0.065µm, ")
    assert notes[0].endswith("channels GFP/RFP) not carried: it describes 12 pages, and 5 are written")
    assert facts(tmp_path / "out.tif")["ome"] is None


# --- single pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["um", "nm", "\\u00B5m", "pixel", "inch"])
def test_a_calibrated_page_of_imagej(unit: str, tmp_path: Path) -> None:
    source = imagej(tmp_path / "in.tif", DATA[0, 0, 0], metadata={"unit": unit, "Info": "x"})
    write_picture(read_picture(source), tmp_path / "out.tif")
    before, after = facts(source), facts(tmp_path / "out.tif")
    assert after["tags"] == {282: PER_UM, 283: PER_UM, 296: 1}
    assert same_metadata(after["ij"], before["ij"]) and after["ij"]["unit"] == before["ij"]["unit"]


RAMP = np.arange(256, dtype=np.uint16) * 257
GREEN = np.stack([RAMP * 0, RAMP, RAMP * 0])
HILO = np.stack([RAMP, RAMP, RAMP])
HILO[:, 0], HILO[:, 255] = (0, 0, 65535), (65535, 0, 0)


@pytest.mark.parametrize("table", [GREEN, HILO, GREEN[:, ::-1]], ids=["green", "HiLo", "inverted"])
@pytest.mark.parametrize("pages", [1, 3])
def test_measurements_that_imagej_shows_in_colours_stay_measurements(table, pages, tmp_path: Path) -> None:
    data = (DATA.reshape(-1, H, W)[:pages] >> 8).astype(np.uint8)
    description = "ImageJ=1.53k\nunit=um\n" + (f"images={pages}\nslices={pages}\n" if pages > 1 else "")
    with tifffile.TiffWriter(tmp_path / "in.tif") as tif:
        for number, page in enumerate(data):
            text = description if number == 0 else None
            tif.write(page, photometric="palette", colormap=table, metadata=None, description=text, resolution=(2, 2))
    assert copy_stack(tmp_path / "in.tif", tmp_path / "out.tif") == []
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert len(tif.pages) == pages and tif.imagej_metadata is not None and tif.imagej_metadata["unit"] == "um"
        for page, array in zip(tif.pages, data, strict=True):
            assert page.photometric == 3 and np.array_equal(page.colormap, table)
            assert np.array_equal(page.asarray(), array)
    assert copy_stack(tmp_path / "in.tif", tmp_path / "o.tif", SaveOptions(depth="16"))[0].startswith("LUT (colour ta")
    (note,) = first_page(tmp_path / "in.tif", tmp_path / "out.png")
    assert "LUT (colour table)" in note and read_picture(tmp_path / "out.png").info.channels == 1


def test_a_table_of_few_colours_is_still_expanded(tmp_path: Path) -> None:
    data = (DATA[0, 0, 0] >> 8).astype(np.uint8)
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    for description in ("ImageJ=1.53k\nunit=um\n", "a photograph"):
        colours = table if description.startswith("ImageJ") else GREEN
        tifffile.imwrite(
            tmp_path / "in.tif", data, photometric="palette", colormap=colours, metadata=None, description=description
        )
        picture = read_picture(tmp_path / "in.tif")
        assert np.array_equal(picture.pixels, (colours.T >> 8).astype(np.uint8)[data])
        write_picture(picture, tmp_path / "out.tif")
        assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), picture.pixels)


@pytest.mark.parametrize("unit", ["NONE", "INCH", "CENTIMETER"])
@pytest.mark.parametrize("ratio", [(200, 13), (1, 3), (4294967295, 7), (2000000, 13)])
def test_a_resolution_is_carried_as_it_is_stored(unit, ratio, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", DATA[0, 0, 0], resolution=(ratio, (300, 1)), resolutionunit=unit)
    write_picture(read_picture(tmp_path / "in.tif"), tmp_path / "out.tif")
    before, after = facts(tmp_path / "in.tif"), facts(tmp_path / "out.tif")
    assert before["tags"] == after["tags"] and after["tags"][282] == ratio and after["tags"][283] == (300, 1)


def test_map_coordinates_and_no_data_values_are_carried(tmp_path: Path) -> None:
    extra = [
        (33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),
        (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True), (42113, 2, 6, "-9999", True),
    ]  # fmt: skip
    array = DATA[0, 0, 0].astype(np.float32)
    for byteorder in "<>":
        tifffile.imwrite(tmp_path / "in.tif", array, extratags=extra, byteorder=byteorder)
        picture = read_picture(tmp_path / "in.tif")
        write_picture(picture, tmp_path / "out.tif")
        with tifffile.TiffFile(tmp_path / "out.tif") as tif:
            assert [tif.pages.first.tags[code].value for code in (33550, 33922, 34735, 42113)] == [
                (0.5, 0.5, 0.0), (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), (1, 1, 0, 1, 1024, 0, 1, 1), "-9999",
            ]  # fmt: skip
    small = target_info(replace(picture.info, height=9), tmp_path / "out.tif")
    assert small.notes[-1].startswith("map coordinates (GeoTIFF) not carried")
    assert small.metadata.calibration is not None
    assert [code for code, _ in small.metadata.calibration.tags] == [282, 283, 296, 42113]


def test_the_first_page_alone_keeps_what_holds_for_it(tmp_path: Path) -> None:
    notes = first_page(imagej(tmp_path / "ij.tif"), tmp_path / "out.tif")
    assert notes == ("axes of ImageJ (images 12, channels 2, slices 3, frames 2) not carried: 1 page is written",)
    after = facts(tmp_path / "out.tif")
    assert (after["axes"], after["tags"][296]) == ("YX", 1) and after["tags"][282] == PER_UM
    assert (after["ij"]["unit"], after["ij"]["spacing"]) == ("um", 0.3) and np.array_equal(after["ij"]["LUTs"], LUTS[0])
    assert (after["ij"]["Labels"], after["ij"]["Ranges"]) == (LABELS[0], (10.0, 900.0))
    notes = first_page(ome(tmp_path / "ome.tif"), tmp_path / "out.tif")
    assert len(notes) == 1 and notes[0].endswith("axes and further channels not carried, one page is written")
    after = facts(tmp_path / "out.tif")
    pixels = pixels_of(str(after["ome"]))
    assert (after["axes"], after["shape"]) == ("YX", (H, W))
    assert [pixels.get(f"Size{axis}") for axis in "XYZCT"] == [str(W), str(H), "1", "1", "1"]
    assert [one.get("Name") for one in pixels.findall("{*}Channel")] == ["GFP"] and pixels.get(
        "PhysicalSizeY"
    ) == "0.07"


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("png", imagej, "PNG cannot hold the calibration: ImageJ (images 12, channels 2, slices 3, frames 2, "),
        ("png", ome, "PNG cannot hold the calibration: OME-XML (SizeZ 3, SizeC 2, SizeT 2, PhysicalSizeX 0.065µm, "),
    ],
)
def test_other_formats_say_what_they_do_not_hold(name, write, words, tmp_path: Path) -> None:
    (note,) = first_page(write(tmp_path / "in.tif"), tmp_path / f"out.{name}")
    assert note.startswith(words) and note.endswith(" not carried")
    if write is imagej:
        assert "LUTs" in note and "spacing 0.3" in note and "resolution 15.3846 x 15.3846 pixels a unit" in note


def test_a_resolution_that_jpeg_cannot_hold_is_noted(tmp_path: Path) -> None:
    array = corpus.pattern(samples=1)
    tifffile.imwrite(tmp_path / "a.tif", array, resolution=(153846, 153846), resolutionunit="CENTIMETER")
    assert first_page(tmp_path / "a.tif", tmp_path / "a.jpg") == ("JPEG cannot hold the DPI: not carried",)
    assert read_picture(tmp_path / "a.jpg").info.metadata.dpi == (72.0, 72.0), "what a JPEG has that says nothing"
    assert first_page(tmp_path / "a.tif", tmp_path / "a.png") == ()


def test_private_tags_that_are_not_carried_are_named(tmp_path: Path) -> None:
    extra = [(51123, 2, 9, '{"a": 10}', True), (65000, 3, 1, 7, True)]
    tifffile.imwrite(tmp_path / "a.tif", DATA[0, 0, 0], extratags=extra)
    notes = read_picture(tmp_path / "a.tif").info.notes
    assert notes == ("private tags of the TIFF not carried: MicroManagerMetadata, tag 65000",)


def test_without_metadata_only_the_resolution_stays(tmp_path: Path) -> None:
    notes = first_page(imagej(tmp_path / "in.tif"), tmp_path / "out.tif", SaveOptions(strip_metadata=True))
    after = facts(tmp_path / "out.tif")
    assert notes == () and after["ij"] is None and after["tags"] == {282: PER_UM, 283: PER_UM, 296: 1}


# --- other sizes, damaged descriptions -----------------------------------------------------------------------


def enlarged(path: Path, factor: int) -> PictureInfo:
    info = read_picture(path, ReadOptions(frames="first")).info
    assert info.metadata.calibration is not None
    size = info.height * factor, info.width * factor
    metadata = replace(info.metadata, calibration=scaled(info.metadata.calibration, info.height, info.width, *size))
    return replace(info, height=size[0], width=size[1], metadata=metadata)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_pixel_of_a_larger_picture_is_smaller(factor: int, tmp_path: Path) -> None:
    for write, more in ((imagej, {"unit": "um"}), (ome, {**OME, "Channel": {"Name": ["GFP"]}})):
        info = enlarged(write(tmp_path / "in.tif", DATA[0, 0, 0], metadata={**more, "axes": "YX"}), factor)
        array = np.zeros((info.height, info.width, 1), np.uint16)
        write_picture(Picture(info, array), tmp_path / "out.tif")
        after = facts(tmp_path / "out.tif")
        if write is imagej:
            above, below = after["tags"][282]
            assert above / below == pytest.approx(factor / 0.065, rel=1e-9) and after["ij"]["unit"] == "um"
        else:
            pixels = pixels_of(str(after["ome"]))
            assert (pixels.get("SizeX"), pixels.get("SizeY")) == (str(W * factor), str(H * factor))
            assert float(str(pixels.get("PhysicalSizeX"))) == pytest.approx(0.065 / factor)
            assert after["shape"] == (H * factor, W * factor)


def test_an_enlarged_map_says_that_it_lost_its_place(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DATA[0, 0, 0], extratags=[(33550, 12, 3, (0.5, 0.5, 0.0), True)])
    assert target_info(enlarged(tmp_path / "a.tif", 2), tmp_path / "b.tif").notes[-1].startswith("map coordinates")


def test_inches_are_of_print_and_stay(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DATA[0, 0, 0], resolution=(300, 300), resolutionunit="INCH")
    calibration = enlarged(tmp_path / "a.tif", 2).metadata.calibration
    assert calibration is not None and dict(calibration.tags)[282] == (5, b"\x2c\x01\0\0\1\0\0\0")


def test_a_crop_keeps_the_size_of_its_pixels(tmp_path: Path) -> None:
    picture = read_picture(
        ome(tmp_path / "in.tif", DATA[0, 0, 0], metadata={**OME, "axes": "YX", "Channel": {"Name": ["GFP"]}})
    )
    part = Picture(replace(picture.info, height=10, width=12), picture.pixels[:10, :12])
    write_picture(part, tmp_path / "out.tif")
    after = facts(tmp_path / "out.tif")
    pixels = pixels_of(str(after["ome"]))
    assert (pixels.get("SizeX"), pixels.get("SizeY"), pixels.get("PhysicalSizeX")) == ("12", "10", "0.065")
    assert np.array_equal(after["data"], DATA[0, 0, 0, :10, :12])


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (b"<OME><Pixels></OME>", "OME-XML description not carried: it is damaged"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><OME></OME>', "OME-XML description not carried: it defines entities"),
        (b"<OME></OME>", "OME-XML description not carried: it describes no picture"),
        (b"ImageJ=1.53\nimages=x\nunit=um\n", "ImageJ description not carried: it is damaged"),
        (b'{"shape": [24', "tifffile description not carried: it is damaged"),
        (
            b'{"shape": 7, "axes": "YX"}',
            "tifffile (shape 7, axes YX) not carried: the samples are stored in another order",
        ),
        (
            b'<OME><Image><Pixels SizeX="32" SizeY="24"><TiffData><UUID FileName="a">1</UUID></TiffData>'
            b'<TiffData><UUID FileName="b">2</UUID></TiffData></Pixels></Image></OME>',
            "not carried: it describes several files, or another one",
        ),
    ],
)
def test_a_description_that_does_not_hold_is_left_out_and_noted(description, words, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", DATA[0, 0, 0], metadata=None, description=description)
    notes = first_page(tmp_path / "in.tif", tmp_path / "out.tif")
    assert " ".join(notes).endswith(words)
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert np.array_equal(tif.pages.first.asarray(), DATA[0, 0, 0]) and 270 not in tif.pages.first.tags
