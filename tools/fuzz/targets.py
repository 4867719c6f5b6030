"""What is fuzzed: for each parser, a maker of hostile input and the function that reads it."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from dice_jax import configs, demo_options, inference
from dice_jax.body_models import assets
from dice_jax.checkpoints import config_file, npz_weights, pretrained_backbones
from dice_jax.constants import NUM_HAND_VERTICES, NUM_HEAD_VERTICES
from dice_jax.datasets.decaf import files as decaf
from dice_jax.errors import UserError
from dice_jax.input_pipeline import pose_priors
from dice_jax.io import images
from dice_jax.models import presets
from dice_jax.training import config_check
from dice_jax.untrusted_files import npz, pickles, torch_file, torch_module
from tools.fuzz.mutations import mutated

Rng = np.random.Generator
CANARY = "executed"  # a file that only code in a fuzzed file would make


class Target(NamedTuple):
    """A parser.

    Attributes:
        make: writes a hostile input into an empty folder and returns what `read` takes.
        read: the parser; a `ValueError` or an `OSError` of one line is a refusal.
    """

    make: Callable[[Path, Rng], Any]
    read: Callable[[Any], Any]


def _make_image(folder: Path, rng: Rng) -> Path:
    shape = (int(rng.integers(32, 80)), int(rng.integers(32, 80)), 4)
    pixels = rng.integers(0, 256, shape, np.uint8)
    mode = str(rng.choice(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"]))
    fit = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
        "JPEG": ("L", "RGB", "CMYK"),
        "WEBP": ("RGB", "RGBA"),
        "GIF": ("L", "P"),
        "BMP": ("L", "P", "RGB"),
        "PPM": ("L", "RGB"),
        "JPEG2000": ("L", "RGB"),
        "AVIF": ("RGB",),
    }
    kind = str(rng.choice(sorted(fit)))
    mode = mode if mode in fit[kind] else fit[kind][-1]
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., :2].copy().view(np.uint16)[..., 0])
    elif mode == "F":
        picture = Image.fromarray(pixels[..., 0].astype(np.float32))
    else:
        picture = Image.fromarray(pixels).convert("RGB" if mode == "CMYK" else mode)
        picture = picture.convert(mode)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 12))
    extra = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    picture.save(file, kind, **extra)
    path = folder / f"a{rng.choice(images.SUFFIXES)}"
    path.write_bytes(mutated(file.getvalue(), rng) if rng.random() < 0.95 else file.getvalue())
    return path


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _random_array(rng: Rng) -> np.ndarray:
    shape = tuple(int(n) for n in rng.integers(0, 5, rng.integers(0, 4)))
    dtype = str(
        rng.choice(["f4", "f8", "f2", "i4", "u1", "?", "U3", "S3", "c16", "O", "V8", "M8[s]"])
    )
    return np.zeros(shape, dtype)


def _write_zip(path: Path, contents: dict[str, bytes], rng: Rng) -> None:
    methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    method = methods[int(rng.choice(4, p=[0.4, 0.5, 0.05, 0.05]))]
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    if rng.random() < 0.5:
        path.write_bytes(mutated(path.read_bytes(), rng))


def _make_npz(folder: Path, rng: Rng) -> Path:
    names = ["params/a/kernel", "params/a/bias", "hand/a/hand_pose", "kind", "v_template", "../x"]
    arrays = {f"{name}.npy": _npy(_random_array(rng)) for name in names if rng.random() < 0.6}
    for name in arrays:
        if rng.random() < 0.4:
            arrays[name] = mutated(arrays[name], rng)
    if rng.random() < 0.05:  # inflates a thousandfold
        arrays["params/zeros.npy"] = _npy(np.zeros(int(rng.integers(1, 80)) * 2**18, np.float32))
    if rng.random() < 0.1:
        arrays["notes.txt"] = b"hello"
    path = folder / "a.npz"
    _write_zip(path, arrays, rng)
    return path


def _read_npz(path: Path) -> None:
    readers = [
        lambda: npz_weights.read_variables(path, "get it again"),
        lambda: pretrained_backbones._converted(path),
        lambda: pose_priors.load(path),
        lambda: assets._read(str(path), "hand"),
        lambda: npz.read_npz(path, others=npz.Array(npz.NUMBERS + npz.TEXT, finite=False)),
    ]
    refusals = []
    for read in readers:
        try:
            read()
        except (ValueError, OSError) as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


class _Bomb:
    """Makes the canary when it is unpickled without care."""

    def __reduce__(self):
        return os.mkdir, (CANARY,)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


_GLOBALS = (
    *("numpy dtype", "numpy ndarray", "numpy.core.multiarray _reconstruct", "builtins list"),
    *("numpy.core.multiarray scalar", "numpy._core.numeric _frombuffer", "builtins bytearray"),
    *("collections OrderedDict", "copyreg _reconstructor", "builtins object", "builtins set"),
    *("scipy.sparse._csc csc_matrix", "chumpy.ch Ch", "joblib.numpy_pickle NumpyArrayWrapper"),
    *("torch._utils _rebuild_tensor_v2", "torch FloatStorage", "torch.nn.modules.linear Linear"),
    *("os system", "builtins eval", "_codecs encode", "torch Size", "collections deque"),
)


def _random_program(rng: Rng) -> bytes:
    """Random opcodes of a pickle, with arguments that make sense now and then."""
    program = [b"\x80\x04"]
    for _ in range(rng.integers(1, 60)):
        choice = rng.integers(16)
        number = int(rng.choice([-1, 0, 1, 2, 3, 8, 255, 2**20, 2**31 - 1]))
        name = _GLOBALS[int(rng.integers(len(_GLOBALS)))].replace(" ", "\n")
        program.append(
            [
                b"(", b"t", b"]", b"}", b"R", b"b", b"s", b"e", b"u", b"a",
                b"c" + name.encode() + b"\n",
                b"J" + struct.pack("<i", number),
                _text(str(rng.choice(["<", "|", "f8", "i8", "O", "x", "data", "latin1"]))),
                b"C" + bytes([24]) + bytes(24),
                b"q" + bytes([int(rng.integers(6))]) + b"h" + bytes([int(rng.integers(6))]),
                bytes([int(rng.integers(256))]),
            ][choice]
        )  # fmt: skip
    return b"".join(program) + b"."


def _pickle_bytes(rng: Rng) -> bytes:
    if rng.random() < 0.5:
        return _random_program(rng)
    content: Any = {
        "v_template": np.arange(12.0).reshape(4, 3),
        "objects": np.array([np.arange(3), "x"], object),
        "scalar": np.float32(2),
        "text": "S5",
        "frames": {i: {"jaw": np.zeros(3, np.float32)} for i in range(3)},
    }
    if rng.random() < 0.2:
        content["bomb"] = _Bomb()
    data = pickle.dumps(content, protocol=int(rng.integers(6)))
    return mutated(data, rng)


def _make_pickle(folder: Path, rng: Rng) -> Path:
    path, data = folder / "a.pkl", _pickle_bytes(rng)
    if rng.random() < 0.2:
        data = zlib.compress(data + bytes(int(rng.integers(2)) * 2**24))
    path.write_bytes(data)
    return path


def _make_object_array(folder: Path, rng: Rng) -> Path:
    path = folder / "a.npy"
    np.save(path, np.array({"a": np.zeros(3)}, object), allow_pickle=True)
    path.write_bytes(mutated(path.read_bytes(), rng))
    return path


def _torch_state() -> bytes:
    """The `data.pkl` of {"weight": a tensor of 2 x 3}, as PyTorch writes it."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu")
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x06tQ"
    tensor += b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + _text("weight") + tensor + b"s."


def _make_torch(folder: Path, rng: Rng) -> Path:
    path = folder / "a.pth"
    data = _torch_state() if rng.random() < 0.6 else _pickle_bytes(rng)
    data = mutated(data, rng) if rng.random() < 0.7 else data
    if rng.random() < 0.3:  # the format before PyTorch 1.6
        parts = [pickle.dumps(number, 2) for number in (0x1950A86A20F9469CFC6C, 1001, {})]
        keys = pickle.dumps(["0"], 2) + struct.pack("<q", 6) + bytes(24)
        path.write_bytes(mutated(b"".join([*parts, data, keys]), rng))
        return path
    storage = bytes(24 if rng.random() < 0.7 else int(rng.integers(0, 2**24)))
    _write_zip(path, {"archive/data.pkl": data, "archive/data/0": storage}, rng)
    return path


def _make_safetensors(folder: Path, rng: Rng) -> Path:
    table = json.dumps(
        {
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BOOL", "shape": [4], "data_offsets": [24, 28]},
            "__metadata__": {"format": "pt"},
        }
    ).encode()
    table = mutated(table, rng) if rng.random() < 0.8 else table
    path = folder / "a.safetensors"
    data = struct.pack("<Q", len(table)) + table + bytes(28)
    path.write_bytes(data if rng.random() < 0.7 else mutated(data, rng))
    return path


def _random_value(rng: Rng) -> Any:
    values = [None, True, -1, 0, 10**9, 10**400, 1.5, 1e308, "x", "", [], {}, [[1]], {"a": 1}]
    return values[int(rng.integers(len(values)))]


def _make_config(folder: Path, rng: Rng) -> Path:
    content: Any = json.loads(json.dumps({"model": presets.full().to_dict(), "data": {"dir": ""}}))
    for _ in range(rng.integers(0, 4)):
        section = content
        while True:
            name = str(rng.choice(sorted(section)))
            if isinstance(section[name], dict) and section[name] and rng.random() < 0.8:
                section = section[name]
                continue
            section[str(rng.choice([name, "items", "a.b", "_x"], p=[0.85, 0.05, 0.05, 0.05]))] = (
                _random_value(rng)
            )
            break
    data = json.dumps(content).encode()
    (folder / config_file.CONFIG_FILE).write_bytes(
        mutated(data, rng) if rng.random() < 0.5 else data
    )
    return folder


def _make_words(folder: Path, rng: Rng) -> list[str]:
    options = (
        *("--image", "--out", "--weights", "--hand", "--fit", "--crop", "--mesh", "--full_frame"),
        *("--focal_length", "--max_megapixels", "--help", "-h", "--", "", "-", "--unknown"),
    )
    values = ("left", "on", "nan", "-1", "1e400", "glb", "", "\0", "x" * 5000, "..", str(folder))
    words = [
        str(rng.choice(options if rng.random() < 0.6 else values)) for _ in range(rng.integers(8))
    ]
    return words


def _read_words(words: list[str]) -> None:
    try:
        demo_options.parse_args(words)
    except SystemExit as error:
        if error.code not in (0, 2):
            raise RuntimeError(f"exit code {error.code}") from error


def _make_overrides(folder: Path, rng: Rng) -> ConfigDict:
    """A training configuration in which any fields have any values."""
    del folder
    values = configs.get_config("small").to_dict()
    for _ in range(rng.integers(1, 5)):
        section = values
        while True:
            name = str(rng.choice(sorted(section)))
            if isinstance(section[name], dict) and section[name] and rng.random() < 0.8:
                section = section[name]
                continue
            section[name] = _random_value(rng)
            break
    return ConfigDict(values, convert_dict=True)


def _read_overrides(config: ConfigDict) -> None:
    config_check.check(config)


def _write_decaf(root: Path) -> dict[Path, Any]:
    """Writes a take without faults; returns what the pickles in it hold, by path."""
    base, sizes = root / "train", {"head": decaf._HEAD_SIZES, "right_hand": decaf._HAND_SIZES}
    frame = {part: {n: np.zeros(s) for n, s in entry.items()} for part, entry in sizes.items()}
    camera = {"extrinsic": np.eye(4), "intrinsic": np.eye(3)}
    arrays = {
        "deformations/S2/deforms.npy": np.zeros((2, NUM_HEAD_VERTICES, 3), np.float16),
        "contacts/S2/contacts_head.npy": np.zeros((2, NUM_HEAD_VERTICES), bool),
        "contacts/S2/contacts_rh.npy": np.zeros((2, NUM_HAND_VERTICES), bool),
        "head_keys/S2/084.npy": np.zeros((2, 68, 3)),
        "right_hand_keys/S2/084.npy": np.zeros((2, 21, 3)),
        "head_bbs/S2/084.npy": np.zeros((2, 4)),
        "right_hand_bbs/S2/084.npy": np.zeros((2, 4)),
    }
    contents = {
        "params/S2/params_smoothed.pkl": {0: frame, 1: frame},
        "cameras/S2/cameras.pkl": {"084": camera},
        "cutIDs/S2.pkl": [(0, 1)],
    }
    for name, content in {**arrays, **contents}.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = _npy(content) if name.endswith(".npy") else pickle.dumps(content)
        path.write_bytes(data)
    return {base / name: content for name, content in contents.items()}


def _make_decaf(folder: Path, rng: Rng) -> Path:
    pickled = _write_decaf(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in rng.choice(np.array(paths, object), int(rng.integers(1, 3)), replace=False):
        kind = rng.integers(6)
        if kind == 0:
            path.unlink(missing_ok=True)
        elif kind == 1 and path.suffix == ".npy":
            path.write_bytes(_npy(_random_array(rng)))
        elif kind == 2 and path.suffix == ".pkl":
            path.write_bytes(_pickle_bytes(rng))
        elif kind == 3 and path.suffix == ".pkl":
            path.write_bytes(pickle.dumps(_with_wrong_entry(pickled[path], rng)))
        elif path.exists():
            data = path.read_bytes()
            head = mutated(data[:300], rng) if path.suffix == ".npy" else mutated(data, rng)
            path.write_bytes(head + data[300:] if path.suffix == ".npy" else head)
    return folder


def _with_wrong_entry(content: Any, rng: Rng) -> Any:
    """The contents with another key or value somewhere."""
    if isinstance(content, dict) and content and rng.random() < 0.8:
        key = list(content)[int(rng.integers(len(content)))]
        value = content[key]
        if rng.random() < 0.3:
            odd = [None, "a", -1, (1, 2), 1e300, float("nan"), b"x", 10**18]
            return {odd[int(rng.integers(len(odd)))]: value}
        return content | {key: _with_wrong_entry(value, rng)}
    if isinstance(content, list) and content and rng.random() < 0.5:
        return [_with_wrong_entry(content[0], rng), *content[1:]]
    values = [
        np.array("x"),
        np.array(["a", "b", "c"]),
        np.full(3, np.nan),
        np.zeros((3, 4), complex),
    ]
    values += [np.array([None] * 3), 10**30, {}, "abc", [[1], [2, 3]], (1,), None]
    return values[int(rng.integers(len(values)))]


def _read_decaf(root: Path) -> None:
    decaf.read_take(root, "train", "S2")
    decaf.read_view(root, "train", "S2", "084")
    decaf.neck_ids(root)


def _make_weights_folder(folder: Path, rng: Rng) -> Path:
    """The shipped weights with one of their files damaged."""
    source = Path(inference.__file__).parent / "weights" / "default"
    for name in ("weights.npz", config_file.CONFIG_FILE):
        shutil.copy(source / name, folder / name)
    path = folder / str(rng.choice(["weights.npz", config_file.CONFIG_FILE], p=[0.7, 0.3]))
    path.write_bytes(mutated(path.read_bytes(), rng))
    return folder


TARGETS = {
    "images": Target(_make_image, images.read_image),
    "npz": Target(_make_npz, _read_npz),
    "pickles": Target(_make_pickle, pickles.read_pickle),
    "object_arrays": Target(_make_object_array, pickles.read_object_array),
    "torch_states": Target(_make_torch, torch_file.read_state),
    "torch_modules": Target(_make_torch, torch_module.read_module),
    "safetensors": Target(_make_safetensors, pretrained_backbones.read_tensors),
    "config_json": Target(_make_config, config_file.load_config),
    "weights": Target(_make_weights_folder, npz_weights.load_weights),
    "command_lines": Target(_make_words, _read_words),
    "configurations": Target(_make_overrides, _read_overrides),
    "decaf": Target(_make_decaf, _read_decaf),
}
REFUSALS = (UserError, ValueError, OSError)
