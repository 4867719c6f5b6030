"""The documentation names only what exists."""

import importlib.util
import pathlib
import re
import tomllib

import pytest
from test_imports import ALLOWED

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "configs/README.md")),
    ROOT / "third_party/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
# Rooms that are one file, and need no row in the design page.
SMALL = {"__init__", "structs", "person", "errors", "constants", "array_types", "xla_flags"}

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@page
def test_linked_files_exist(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), target


@page
def test_named_modules_exist(path):
    text = path.read_text()
    names = re.findall(r"(?:python -m|^:::) ((?:dice_jax|tools)[\w.]*)", text, flags=re.MULTILINE)
    for name in names:
        assert importlib.util.find_spec(name), name


@page
def test_named_files_of_the_repository_exist(path):
    folders = r"(?:dice_jax|configs|tools|tests|docs|third_party|\.ci)/"
    for name in re.findall(rf"(?<![\w./-])({folders}[\w./]*\w)(?![\w*])", path.read_text()):
        assert "NAME" in name or (ROOT / name).exists(), name


def test_design_page_has_the_imports_that_the_test_of_imports_allows():
    text = (ROOT / "docs/design.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*)\|$", text, flags=re.MULTILINE)
    documented = {room: set(re.findall(r"`(\w+)`", imports)) for room, imports in rows}
    assert documented == {room: rooms for room, rooms in ALLOWED.items() if room not in SMALL}


def test_navigation_lists_every_page():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2].partition("\nmarkdown_")[0]
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(re.findall(r": ([\w/]+\.md)$", nav, flags=re.MULTILINE)) == sorted(pages)


def test_console_scripts_name_functions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for target in project["scripts"].values():
        module, function = target.split(":")
        source = pathlib.Path(importlib.util.find_spec(module).origin).read_text()
        assert f"\ndef {function}(" in source, target
