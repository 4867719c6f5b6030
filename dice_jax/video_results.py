"""A video in, a video with the meshes over it, parameters and contacts out.

Decoding, reconstruction, and drawing with encoding overlap, with a few frames waiting in between.
Results are written in parts of a few seconds. A run that was killed goes on after the last part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import shutil
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import UInt8

from dice_jax import inference, reposing, video_rig
from dice_jax.body_models import contact_regions
from dice_jax.fitting import detector_points
from dice_jax.io import atomic, contact_table, params, video_writer, videos
from dice_jax.io.videos import Frame, VideoInfo
from dice_jax.person import Person
from dice_jax.sequences.people import Tracks
from dice_jax.sequences.video_people import FramePeople, reconstruct_video
from dice_jax.untrusted_files import npz
from dice_jax.visualization import overlay

PART_SECONDS = 4.0  # of a video, in one part of the results
CONTACT_COLUMNS = (
    *("person", "hand", "hand_region", "head_region", "probability", "from_seconds", "to_seconds"),
)
_WAITING = 4  # frames between two stages
_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)
_GAP = 0.2  # seconds; a contact that pauses for less goes on
_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a finished video, and what was found.

    Attributes:
        paths: of the files.
        frames: number of frames that were read.
        expected: number of frames of which the header speaks; 0: it does not say.
        people: number of people.
    """

    paths: list[Path]
    frames: int
    expected: int
    people: int


def process(
    model: inference.Model,
    path: str | Path,
    stem: str | Path,
    *,
    smooth: str = "light",
    rig: bool = False,
    progress: Callable[[int], object] = lambda frames: None,
    **options: Any,
) -> Files:
    """Reconstructs a video and writes `stem_overlay.mp4`, `stem_params.npz`, `stem_contact.csv`.

    Args:
        model: from `load`.
        path: of the video.
        stem: folder and start of the file names. The parts of an unfinished run lie in the folder
            `stem_parts`; they are used where they belong to this video, model and options.
        smooth: "off", "light" or "strong".
        rig: whether to write `stem_rig.glb` as well, the moving skeletons, if there is anybody.
        progress: called with the number of frames done since the call before.
        **options: of `reconstruct`.

    Raises:
        FileNotFoundError, UserError: see `videos.probe`; there is no FFmpeg; a part is damaged.
        OSError: a file cannot be written. The files appear together, or none of them does.
    """
    path, stem = Path(path), Path(stem)
    info = videos.probe(path)
    video_writer.ffmpeg()
    folder = stem.with_name(f"{stem.name}_parts")
    about = _about(model, path, info, smooth, options)
    parts = _finished_parts(folder, about)
    bodies = detector_points.prepare(model.hand_model, model.head_model)
    tracks = Tracks(smooth, bodies.hand_model, bodies.head_model)
    start, previous = _continue(parts, tracks)
    progress(start)
    faces = np.asarray(model.hand_model.faces), np.asarray(model.head_model.faces)

    frames = in_background(videos.read_frames(path, start))
    results = in_background(_paired(frames, model, tracks, previous, smooth, options))
    drawn = in_background(_drawn(results, faces, model))
    for number, part in enumerate(_parts(drawn, info.fps), start=len(parts)):
        first = int(_read(parts[-1])["end"]) if parts else 0
        parts.append(_write_part(folder, number, first, part, info, progress))

    names = ("overlay.mp4", "params.npz", "contact.csv")
    paths = [stem.with_name(f"{stem.name}_{name}") for name in names]
    contents = [_read(part) for part in parts]
    people = _merged(contents)
    with atomic.together():
        video_writer.join([part.with_suffix(".mp4") for part in parts], paths[0], sound=path)
        params.write_params(paths[1], people)
        if rig and _numbers(people):
            paths.append(stem.with_name(f"{stem.name}_rig.glb"))
            fitted = bodies.hand_model, bodies.head_model
            alone = model.hand_model, model.head_model
            video_rig.write(paths[-1], people, info, fitted, alone, {"source": path.name})
        contact_table.write_table(paths[2], CONTACT_COLUMNS, episodes(_contact_rows(contents)))
    count = sum(len(content["frame_time"]) for content in contents)
    _clear(folder)
    return Files(paths, count, info.frames, len(_numbers(people)))


def in_background(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, made in another thread, a few ahead; an exception is raised in their place."""
    waiting: queue.Queue = queue.Queue(_WAITING)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    break
            put("end", None)
        except BaseException as error:
            put("error", error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        thread.join()


@dataclasses.dataclass(frozen=True)
class _Result:
    frame: Frame
    found: FramePeople


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A finished frame."""

    time: float
    picture: UInt8[np.ndarray, "H W 3"]
    arrays: dict[int, dict[str, np.ndarray]]
    raw: dict[int, dict[str, np.ndarray]]
    contacts: list[tuple[Any, ...]]


def _paired(frames, model, tracks, previous, smooth, options) -> Iterator[_Result]:
    """Frames and who is in them."""
    current: list[Frame] = []

    def pictures():
        for frame in frames:
            current[:] = [frame]
            yield frame.time, frame.pixels

    for found in reconstruct_video(
        model, pictures(), smooth=smooth, previous=previous, tracks=tracks, **options
    ):
        yield _Result(current[0], found)


def _drawn(results: Iterable[_Result], faces, model) -> Iterator[_Drawn]:
    for result in results:
        shape, contacts = result.frame.pixels.shape[:2], []
        people = [person for _, person in result.found.people]
        picture = overlay.people_over_frame(result.frame.pixels, people, *faces)
        for number, person in result.found.people:
            bodies = reposing.body_models(model, person)
            contacts += [
                (number, x.hand, x.hand_region, x.head_region, x.probability, result.frame.time)
                for x in contact_regions.region_contacts(person, *bodies)
            ]
        arrays = {n: params.to_arrays(person, shape) for n, person in result.found.people}
        raw = {
            number: params.to_arrays(person, shape)
            for (number, _), person in zip(result.found.people, result.found.raw)
        }
        yield _Drawn(result.frame.time, picture, arrays, raw, contacts)


def _parts(frames: Iterable[_Drawn], fps: float) -> Iterator[Iterator[_Drawn]]:
    """Groups frames; each group has to be used up before the next one is taken."""
    size = max(1, round(PART_SECONDS * fps))
    frames = iter(frames)
    for first in frames:

        def group(first=first):
            yield first
            for _, frame in zip(range(size - 1), frames):
                yield frame

        yield group()


def _write_part(
    folder: Path, number: int, first: int, frames: Iterator[_Drawn], info: VideoInfo, progress
) -> Path:
    """Encodes a part; its .npz, written last, says that it is complete."""
    path = folder / f"{number:06d}.npz"
    writer, done = None, []
    try:
        for frame in frames:
            if writer is None:
                size = frame.picture.shape[1], frame.picture.shape[0]
                writer = video_writer.VideoWriter(path.with_suffix(".mp4"), size, info.fps, first)
            writer.write(frame.picture, frame.time)
            # What each vertex has is kept of the last frame alone.
            done.append(frame)
            if len(done) > 1:
                done[-2] = dataclasses.replace(
                    done[-2], raw={}, picture=_NO_PICTURE, arrays=_without(done[-2].arrays)
                )
            progress(1)
        assert writer is not None
        writer.close()
    except BaseException:
        if writer is not None:
            writer.abort()
        raise
    arrays: dict[str, np.ndarray] = {
        "frame_time": np.array([frame.time for frame in done]),
        "end": np.array(writer.written),  # in frames of the video that is written
    }
    last = done[-1]
    for kind, people in (("smooth", last.arrays), ("raw", last.raw)):
        for person, content in people.items():
            arrays |= {f"last_{kind}_{person}_{name}": x for name, x in content.items()}
    numbers = sorted({person for frame in done for person in frame.arrays})
    for person in numbers:
        arrays |= _stacked(f"person_{person}", [frame.arrays.get(person) for frame in done])
    rows = [row for frame in done for row in frame.contacts]
    for column, name in enumerate(("person", "hand", "hand_region", "head_region", "p", "time")):
        kind = str if 0 < column < 4 else float
        arrays[f"contact_{name}"] = np.array([row[column] for row in rows], dtype=kind)
    params.write_params(path, arrays)
    return path


def _without(people):
    """The arrays without what each vertex has."""
    return {
        number: {name: x for name, x in arrays.items() if not name.endswith(params.PER_VERTEX)}
        for number, arrays in people.items()
    }


def _stacked(prefix: str, rows: list[dict[str, np.ndarray] | None]) -> dict[str, np.ndarray]:
    """Arrays over the frames; NaN where the person, or a hand, is not there."""
    items = [item for row in rows if row for item in row.items()]
    shapes = {name: x.shape for name, x in items if x.dtype.kind == "f"}
    result = {}
    for name, shape in shapes.items():
        if not name.endswith(params.PER_VERTEX):
            missing = np.full(shape, np.nan, np.float32)
            stacked = np.stack([missing if not row else row.get(name, missing) for row in rows])
            result[f"{prefix}_{name}"] = stacked.astype(np.float32)
    return result


def _read(path: Path) -> dict[str, np.ndarray]:
    others = npz.Array(npz.NUMBERS + npz.TEXT, finite=False)
    return npz.read_npz(path, others=others, what="a part of a video's results")


def _merged(contents: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The parts, one after the other; a person who is not in a part has NaN there."""
    lengths = [len(content["frame_time"]) for content in contents]
    shapes = {
        name: x.shape[1:]
        for content in contents
        for name, x in content.items()
        if name.startswith("person_")
    }
    merged = {"frame_time": np.concatenate([content["frame_time"] for content in contents])}
    for name, shape in shapes.items():
        pieces = [
            content.get(name, np.full((length, *shape), np.nan, np.float32))
            for content, length in zip(contents, lengths)
        ]
        merged[name] = np.concatenate(pieces)
    return merged


def _numbers(names: Iterable[str]) -> set[int]:
    """The numbers of the people among the names of arrays."""
    return {int(name.split("_")[1]) for name in names if name.startswith("person_")}


def _contact_rows(contents: list[dict[str, np.ndarray]]) -> Iterator[tuple[Any, ...]]:
    names = ("person", "hand", "hand_region", "head_region", "p", "time")
    for content in contents:
        for row in zip(*(content[f"contact_{name}"].tolist() for name in names)):
            yield (int(row[0]), *row[1:])


def episodes(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Contacts from when to when.

    Args:
        rows: person, hand, region of the hand, region of the head, probability, time in seconds;
            ordered by time.

    Returns:
        Person, hand, both regions, highest probability, beginning and end; ordered by beginning. A
        contact that pauses for less than 0.2 s goes on.
    """
    running: dict[tuple, list[float]] = {}
    finished = []
    for *key, probability, time in rows:
        episode = running.get(tuple(key))
        if episode is not None and time - episode[2] < _GAP:
            episode[0], episode[2] = max(episode[0], probability), time
        else:
            if episode is not None:
                finished.append((*key, *episode))
            running[tuple(key)] = [probability, time, time]
    finished += [(*key, *episode) for key, episode in running.items()]
    return sorted(finished, key=lambda row: (row[5], row[:4]))


def _about(model: inference.Model, path: Path, info: VideoInfo, smooth: str, options) -> str:
    """What parts belong to."""
    status = path.stat()
    return json.dumps(
        {
            "video": path.name,
            "bytes": status.st_size,
            "modified": status.st_mtime_ns,
            "header": dataclasses.astuple(info),
            "model": _checksum(model),
            "smooth": smooth,
            "options": {name: str(value) for name, value in sorted(options.items())},
        }
    )


def _checksum(model: inference.Model) -> int:
    """Of the weights and the body models, whatever folder they are from."""
    checksum = 0
    for array in jax.tree.leaves(model):
        checksum = zlib.crc32(np.asarray(array).tobytes(), checksum)
    return checksum


def _finished_parts(folder: Path, about: str) -> list[Path]:
    """The complete parts of an earlier run of the same video, model and options."""
    note = folder / "about.json"
    if folder.exists() and not (note.exists() and note.read_text("utf-8") == about):
        _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob(".encoding_*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    atomic.write_text(note, about)
    parts = []
    while True:
        part = folder / f"{len(parts):06d}.npz"
        if not (part.exists() and part.with_suffix(".mp4").exists()):
            return parts
        parts.append(part)


def _clear(folder: Path) -> None:
    """Removes what this module wrote into the folder, and the folder if nothing else is in it."""
    for path in (*folder.glob("[0-9]" * 6 + ".npz"), *folder.glob("[0-9]" * 6 + ".mp4")):
        path.unlink()
    (folder / "about.json").unlink(missing_ok=True)
    for abandoned in folder.glob(".encoding_*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with contextlib.suppress(OSError):  # something of the user's is in it
        folder.rmdir()


def _continue(parts: list[Path], tracks: Tracks) -> tuple[int, list[Person]]:
    """The number of frames that are done, and the people of the last one."""
    if not parts:
        return 0, []
    start = 0
    for part in parts:
        content = _read(part)
        start += len(content["frame_time"])
        # Those who left before the last frame too: nobody else gets their numbers.
        tracks.numbers = max(tracks.numbers, *_numbers(content), 0)
    time = float(content["frame_time"][-1])
    previous = []
    numbers = {int(name.split("_")[2]) for name in content if name.startswith("last_raw_")}
    for number in sorted(numbers):
        raw, smooth = (
            params.from_arrays(
                {
                    name.removeprefix(prefix): value
                    for name, value in content.items()
                    if name.startswith(prefix)
                }
            )
            for prefix in (f"last_raw_{number}_", f"last_smooth_{number}_")
        )
        tracks.resume(number, raw, smooth, time)
        previous.append(raw)
    return start, previous
