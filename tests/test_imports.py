"""Who may import whom, read off the source of every module. No module is exempt."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "dice_jax"

# What every room may import.
EVERYWHERE = {"structs", "person", "errors", "constants", "array_types", "user_folders"}
# Room (a folder or a module of the package) -> the rooms that it may import besides itself and
# `EVERYWHERE`.
ALLOWED = {
    "__init__": set(),
    "structs": set(),
    "person": set(),
    "errors": set(),
    "constants": set(),
    "array_types": set(),
    "xla_flags": set(),
    "user_folders": set(),
    "input_pixels": set(),
    "kept_programs": {"io"},
    "geometry": set(),
    "untrusted_files": set(),
    "input_pipeline": {"body_models", "io", "untrusted_files"},
    "detection": {"geometry"},
    "io": {"geometry", "untrusted_files"},
    "visualization": {"geometry", "io"},
    "body_models": {"geometry", "io", "untrusted_files"},
    "models": {"geometry", "body_models"},
    "losses": {"geometry", "body_models"},
    "metrics": {"geometry", "body_models"},
    "synthetic": {"geometry", "body_models", "input_pipeline"},
    "datasets": {
        "geometry",
        "body_models",
        "input_pipeline",
        "detection",
        "synthetic",
        "untrusted_files",
        "io",
    },
    "checkpoints": {"models", "body_models", "untrusted_files", "io"},
    "configs": {"models", "losses"},
    "fitting": {"geometry", "body_models", "detection", "untrusted_files"},
    "turned_photo": {"geometry", "body_models", "detection"},
    "previous_people": {"detection", "fitting", "geometry"},
    "reconstruction": {
        "inference",
        "kept_programs",
        "detection",
        "fitting",
        "previous_people",
        "turned_photo",
        "geometry",
    },
    "reposing": {"inference", "fitting", "body_models"},
    "sequences": {
        "inference",
        "reposing",
        "reconstruction",
        "detection",
        "fitting",
        "body_models",
        "geometry",
    },
    "video_rig": {"body_models", "visualization", "io"},
    "video_results": {
        "video_rig",
        "untrusted_files",
        "inference",
        "sequences",
        "reposing",
        "body_models",
        "visualization",
        "io",
        "fitting",
    },
    "demo_options": {"reconstruction", "sequences", "visualization", "io"},
    "live": {"inference", "sequences", "visualization", "io"},
    "many_photos": {"reconstruction", "inference", "detection"},
    "inference": {"checkpoints", "models", "body_models", "input_pixels", "kept_programs"},
    "training": {
        "geometry",
        "models",
        "losses",
        "body_models",
        "checkpoints",
        "datasets",
        "input_pipeline",
        "io",
    },
    "evaluation": {
        "detection",
        "fitting",
        "training",
        "inference",
        "metrics",
        "visualization",
        "input_pipeline",
        "models",
        "body_models",
        "io",
        "untrusted_files",
    },
}
# Command lines: they stand above every room, and no room imports them.
COMMANDS = {"train", "evaluate", "demo", "tools"}


def imported_rooms(source: str) -> set[str]:
    """The rooms of dice_jax that a module imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("dice_jax.")}
    return rooms


def forbidden_imports(room: str, source: str, allowed=ALLOWED) -> set[str]:
    """The rooms that `source`, a module of `room`, imports and may not."""
    below = set(allowed) | COMMANDS if room in COMMANDS else allowed[room] | EVERYWHERE
    return imported_rooms(source) - below - {room}


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if room_of(path) != "__init__"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path):
    forbidden = forbidden_imports(room_of(path), path.read_text())
    assert not forbidden, f"{room_of(path)} may not import {sorted(forbidden)}"


def test_every_room_has_its_arrows():
    assert {room_of(path) for path in MODULES} <= set(ALLOWED) | COMMANDS


def test_no_circles():
    below = {room: set(rooms) for room, rooms in ALLOWED.items()}
    while below:
        ground = {room for room, rooms in below.items() if not rooms & set(below)}
        assert ground, f"a circle among {sorted(below)}"
        below = {room: rooms for room, rooms in below.items() if room not in ground}


@pytest.mark.parametrize("room", sorted(room for room in ALLOWED if ALLOWED[room]))
def test_an_arrow_turned_round_is_seen(room):
    for lower in ALLOWED[room]:
        assert forbidden_imports(lower, f"def f():\n  from dice_jax.{room} import x\n") == {room}


def test_no_room_imports_a_command_line():
    assert all(forbidden_imports(room, "import dice_jax.train") == {"train"} for room in ALLOWED)


def test_processes_are_spawned():
    """JAX has threads: a process that is forked after its first use can hang."""
    for path in MODULES:
        source = path.read_text()
        if "ProcessPoolExecutor(" in source or "multiprocessing." in source:
            assert 'get_context("spawn")' in source and "mp_context=context" in source, path
        assert "os.fork(" not in source
