"""What a job reads: its sources opened once, and what their headers say about the work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore.closing import Closing
from restore.errors import ConfigError, DecodeError, FileError, LimitError, RestoreError, UnsupportedError, counted
from restore.inference.batch_job import BatchOptions, Job, Restores
from restore.inference.clips import clip_encoding
from restore.inference.headers import common_info
from restore.inference.history import History
from restore.inference.records import OutputFiles
from restore.io.clip.names import READABLE, is_clip, means_clip, names_clip
from restore.io.clip.reader import ClipFile
from restore.io.codecs import bytes_to_write, check_stack, target_info
from restore.io.frame_folder import check_folder
from restore.io.frames import FrameFolder, StackFrames, check_alike
from restore.io.header import what_else
from restore.io.options import ReadOptions
from restore.io.paths import check_name, check_output, same_file, written_name
from restore.io.picture_file import PictureFile
from restore.io.sniff import NAME_A_PICTURE
from restore.options import flag
from restore.picture import PictureInfo, PictureSource

Frames = StackFrames | FrameFolder | ClipFile
"""What is read frame by frame."""
_MUCH = 64 << 20
"""Bytes below which free memory is not asked for."""


@dataclass(frozen=True)
class Contents:
    """What a job's sources hold, from their headers.

    Attributes:
        infos: the first picture of each input.
        frames: how many pictures of each input are to be restored.
        sequence: whether frames are written, into a stack or a folder; one page alone is an ordinary picture.
        nbytes: decoded bytes of each output, as it will be written.
        outputs: where each output will be.
        notes: what was noticed about the sources as a whole.
    """

    infos: tuple[PictureInfo, ...]
    frames: int
    sequence: bool
    nbytes: dict[str, int]
    outputs: dict[str, OutputFiles]
    notes: tuple[str, ...] = ()

    @property
    def info(self) -> PictureInfo:
        """The first picture of the first input."""
        return self.infos[0]


class Inputs(Closing):
    """A job's sources, opened. Use as a context manager, or close it when the pictures were read.

    Raises:
        FileError, LimitError: a source that cannot be opened.
    """

    def __init__(self, job: Job, read: ReadOptions, *, hashed: bool = False) -> None:
        self.files: list[PictureFile | Frames] = []
        try:
            for path in job.sources:
                self.files.append(_opened(path, job, read, hashed=hashed))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release all files. Safe to call twice."""
        for file in self.files:
            file.close()

    def sha256(self) -> tuple[str, ...]:
        """Hash of each source's bytes."""
        return tuple(file.sha256() for file in self.files)

    def check_unchanged(self) -> None:
        """Raise `FileError` if a source was written to since it was opened."""
        for file in self.files:
            file.check_unchanged()

    @property
    def are_sequences(self) -> bool:
        """Whether every source can be read frame by frame (if only of one page)."""
        return not any(isinstance(file, PictureFile) for file in self.files)

    def pictures(self) -> list[PictureSource]:
        """The one picture of each source. Raises `UnsupportedError` for a folder of frames."""
        return [_picture(file) for file in self.files]

    def frames(self) -> list[Frames]:
        """The sequence of each source."""
        return [file for file in self.files if not isinstance(file, PictureFile)]


def read_headers(inputs: Inputs, job: Job, restorer: Restores, options: BatchOptions) -> Contents:
    """Read all headers; refuses what the targets' formats cannot hold, judged by the outputs' own sizes.

    Raises:
        RestoreError: as `PictureFile.infos`, `FrameFolder.infos`, `target_info` and `check_stack` do; sequences of
            different lengths; pictures or frames that differ where they are restored together.
    """
    if inputs.are_sequences:
        return _read_headers_of_sequences(inputs, job, restorer, options)
    infos = tuple(file.info for file in inputs.files)
    _check_nothing_else(infos[0], job)
    common_info(infos)
    return Contents(infos, 1, False, _output_bytes(infos[0], job, restorer, options), _single_outputs(job))


def _check_nothing_else(info: PictureInfo, job: Job) -> None:
    """Refuse to put a result in the place of a file that holds more than the picture that is read."""
    if job.in_place and (lost := what_else(info.notes)):
        raise UnsupportedError(f"in place would throw {lost}", fix="Name an output")


def _read_headers_of_sequences(inputs: Inputs, job: Job, restorer: Restores, options: BatchOptions) -> Contents:
    alike = restorer.spec.window > 1 or options.measures_once(job)
    first, *others = inputs.frames()
    if isinstance(first, ClipFile) and options.save.fps is not None:
        raise ConfigError(
            "--fps is for numbered pictures: a clip keeps its times", where=first.path, fix="Leave it out"
        )
    frames, nbytes, outputs = 0, dict.fromkeys(job.targets, 0), _single_outputs(job)
    if job.into_folders:
        names = _frame_names(first)
        outputs = {name: OutputFiles(target, names) for name, target in job.targets.items()}
    for name, target in job.targets.items():
        if names_clip(target) or (job.in_time and not job.into_folders):
            clip_encoding(first, restorer.output_headers(first.info)[name], target, options.save)
    for info in _with_look_ahead(first, job):
        if alike and frames:
            check_alike(first.info, info, first.where(frames))
        for name, size in _output_bytes(info, job, restorer, options, frame=frames, outputs=outputs).items():
            nbytes[name] += size
        frames += 1
        if isinstance(first, ClipFile):  # its frames are alike
            frames, nbytes = first.count, {name: size * first.count for name, size in nbytes.items()}
            break
    for path, other in zip(job.sources[1:], others, strict=True):
        if other.count != frames:
            raise UnsupportedError(f"has {counted(other.count, 'frame')}, and the first input has {frames}", where=path)
    _check_nothing_else(first.info, job)
    sequence = frames > 1 or not isinstance(first, StackFrames)
    infos = tuple(one.info for one in (first, *others))
    common_info(infos)
    folders = ((file.path, file.notes) for file in inputs.files if isinstance(file, FrameFolder | ClipFile))
    notes = tuple(note for path, found in folders for note in notes_about(path, found, job.source))
    return Contents(infos, frames, sequence, nbytes, outputs, notes)


def notes_of(job: Job, pictures: Sequence[PictureSource]) -> list[str]:
    """What was noticed about the pictures of a job, of each source one; each note says of which, but for the first."""
    each = zip(job.sources, pictures, strict=False)  # none are held of a sequence
    return [note for path, picture in each for note in notes_about(path, picture.info.notes, job.source)]


def notes_about(path: Path, notes: Sequence[str], first: Path) -> list[str]:
    """Notes about a source; the first one's name goes without saying, in messages as in the ledger."""
    return [note if path == first else f"{path}: {note}" for note in notes]


def names_its_source(job: Job, note: str) -> bool:
    """Whether a note of this job begins with the source (or frame of it) it is about."""
    return note.startswith(tuple(f"{path}{sign}" for path in job.sources[1:] for sign in (": ", ", page ", os.sep)))


def _frame_names(frames: Frames) -> tuple[str, ...]:
    """Names of the pictures that a sequence's frames are written to."""
    if isinstance(frames, FrameFolder):
        return tuple(map(written_name, frames.names))
    digits = max(6, len(str(frames.count)))
    return tuple(f"frame_{index + 1:0{digits}d}.png" for index in range(frames.count))


def _with_look_ahead(first: Frames, job: Job) -> Iterator[PictureInfo]:
    """The headers; targets that cannot hold a stack are refused before any page is judged by itself."""
    infos = first.infos()
    begin = [info for info in (next(infos, None), next(infos, None)) if info is not None]
    if len(begin) > 1 and isinstance(first, StackFrames):
        for target in job.targets.values():
            if not names_clip(target):
                check_stack(target)
    yield from begin
    yield from infos


def _output_bytes(
    info: PictureInfo,
    job: Job,
    restorer: Restores,
    options: BatchOptions,
    *,
    frame: int = 0,
    outputs: dict[str, OutputFiles] | None = None,
) -> dict[str, int]:
    """Decoded bytes of each output of one picture. Raises `UnsupportedError` for what a target cannot hold."""
    sizes = {}
    for name, header in restorer.output_headers(info).items():
        target = job.targets[name]
        if outputs is not None and outputs[name].frames:
            target /= outputs[name].frames[frame]
        elif outputs is not None and names_clip(target):
            sizes[name] = 0
            continue
        written = target_info(header, target, options.save)
        _check_memory(written)
        sizes[name] = written.nbytes
    return sizes


def _check_memory(written: PictureInfo) -> None:
    """Raise `LimitError` for a picture that its format makes from memory, and for which there is not enough of it."""
    from restore.inference.memory import available_memory

    needed = bytes_to_write(written)
    free = available_memory() if needed > _MUCH else needed
    if needed > free:
        raise LimitError(
            f"the result of {written.width} x {written.height} px takes {needed / 2**30:.1f} GiB of memory as "
            f"{written.format.upper()}, which is not written by rows",
            where=written.path, why=f"{free / 2**30:.1f} GiB are free",
            fix="Write .png or .tif, or a smaller result",
        )  # fmt: skip


def _single_outputs(job: Job) -> dict[str, OutputFiles]:
    return {name: OutputFiles(target) for name, target in job.targets.items()}


def _picture(file: PictureFile | Frames) -> PictureSource:
    if isinstance(file, FrameFolder | ClipFile):
        what = "a folder of frames" if isinstance(file, FrameFolder) else "a clip"
        raise UnsupportedError(f"is {what}, and another input is one picture", where=file.path)
    return (file.file if isinstance(file, StackFrames) else file).picture()


def _opened(path: Path, job: Job, read: ReadOptions, *, hashed: bool) -> PictureFile | Frames:
    file = None
    if not (job.sequence and path.is_dir()):
        file = _picture_file(path, read)
        if file is None:
            return ClipFile(path, read, hashed=hashed)
    try:
        _check_no_clip(file, path, job, read)
    except RestoreError:
        if file is not None:
            file.close()
        raise
    if file is None:
        return FrameFolder(path, read, hashed=hashed)
    return StackFrames(file) if read.frames == "all" else file


def _check_no_clip(file: PictureFile | None, path: Path, job: Job, read: ReadOptions) -> None:
    """Refuse what was meant to be a clip and is none, and options of clips for what is a picture (or a folder: None).

    Raises:
        DecodeError, UnsupportedError: neither a clip nor a picture. ConfigError: an option of clips.
    """
    asked = [flag(name) for name in ("start", "end", "count") if getattr(read, name) is not None]
    what = "a folder"
    if file is not None and (asked or means_clip(path) or names_clip(job.target)):
        try:
            what = "a TIFF stack" if file.kind == "tiff" and read.frames == "all" else "a still picture"
        except UnsupportedError as error:
            fix = "Name a clip" if error.fix == NAME_A_PICTURE else error.fix
            what = error.what.replace("is not a picture:", "is neither a clip nor a picture:")
            raise UnsupportedError(what, where=path, why=error.why, fix=fix) from error
        except DecodeError as error:
            if not path.stat().st_size:
                raise
            raise DecodeError(
                "is no clip that can be read", where=path, why=error.why,
                fix=f"Clips are {' '.join(sorted(READABLE))}; for others: ffmpeg -i IN -c copy OUT.mkv, "
                "or -c:v ffv1 where it does not copy",
            ) from error  # fmt: skip
    if asked:
        raise ConfigError(f"{asked[0]} is for clips, and this is {what}", where=path, fix="Leave it out")


def _picture_file(path: Path, read: ReadOptions) -> PictureFile | None:
    """The file, opened once; None for a clip, for which the limit of bytes is not meant."""
    try:
        file = PictureFile(path, read)
    except LimitError:
        if is_clip(path):
            return None
        raise
    if not file.is_clip:
        return file
    file.close()
    return None


def inspect(job: Job, restorer: Restores, options: BatchOptions) -> Contents:
    """What a job holds and would write, without doing it: for a dry run. Raises as `read_headers` does."""
    with Inputs(job, options.read) as inputs:
        return read_headers(inputs, job, restorer, options)


def check_outputs(job: Job, *, replace: bool) -> None:
    """Raise `FileError` if a job's outputs would destroy something they may not."""
    if job.in_place and job.into_folders:
        raise FileError("frames in a folder are not replaced in place", where=job.source, fix="Name an output folder")
    first, *others = job.sources
    for name, target in job.targets.items():
        if job.into_folders:
            check_name(target)
            check_folder(target, overwrite=replace)
            _refuse_same(first, target)
        else:
            check_output(first, target, in_place=job.replaces_source(name), overwrite=replace)
        for other in others:
            _refuse_same(other, target)
    if job.compare is not None:
        check_output(first, job.compare, overwrite=replace)
        for other in others:
            _refuse_same(other, job.compare)


def check_written_by_us(job: Job, contents: Contents, history: History) -> None:
    """Raise `FileError` if an output is there that no earlier run wrote, or that was changed since."""
    files = {job.outputs[name]: files for name, files in contents.outputs.items() if not job.replaces_source(name)}
    if job.compare is not None:
        files[job.compare_name] = OutputFiles(job.compare)
    for name, there in files.items():
        if _is_there(there) and not history.wrote(name, there):
            known = "no ledger says that restore wrote it" if history.empty else "it is not as an earlier run wrote it"
            raise FileError(
                "exists already", where=there.path, why=known,
                fix="Move it away, or give --overwrite in place of --resume to replace it",
            )  # fmt: skip


def _is_there(files: OutputFiles) -> bool:
    if files.frames:
        return files.path.is_dir() and any(files.path.iterdir())
    return files.path.exists() or files.path.is_symlink()


def _refuse_same(source: Path, target: Path) -> None:
    if same_file(source, target):
        raise FileError("is the input itself: writing would replace it", where=target, fix="Name another output")
