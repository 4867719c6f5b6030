"""Who may import whom, read off the source of every module."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "dice_jax"

# Part -> the parts of dice_jax it may import. A part may always import itself, `structs`, `errors` and `pickles`.
ALLOWED = {
  "structs": set(),
  "errors": set(),
  "pickles": set(),
  "xla_flags": set(),
  "geometry": set(),
  "body_models": {"geometry"},
  "models": {"geometry", "body_models"},
  "losses": {"geometry", "body_models"},
  "metrics": {"geometry", "body_models"},
  "io": {"geometry"},
  "data": set(),
  "synthetic": {"geometry", "body_models", "data"},
  "preparation": {"geometry", "body_models", "data", "io"},
  "report": {"geometry", "body_models", "data", "io", "metrics"},
  "training": {"geometry", "body_models", "models", "losses"},
}
# Stories read top to bottom: they may use every part.
STORIES = {"__init__", "train", "evaluate", "evaluation", "inference", "demo", "datasets", "watch"}


def imported_parts(path: pathlib.Path) -> set[str]:
  """The top-level parts of dice_jax that a module imports, anywhere in it."""
  parts = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    else:
      continue
    parts |= {name.split(".")[1] for name in names if name.startswith("dice_jax.")}
  return parts


def part_of(path: pathlib.Path) -> str:
  return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path):
  part = part_of(path)
  if part in STORIES:
    return
  forbidden = imported_parts(path) - ALLOWED[part] - {part, "structs", "errors", "pickles"}
  assert not forbidden, f"{part} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "geometry").glob("*.py")), ids=lambda path: path.name)
def test_geometry_stands_alone(path):
  assert imported_parts(path) <= {"geometry"}


def test_an_arrow_against_the_rule_is_seen(tmp_path):
  module = tmp_path / "module.py"
  module.write_text("def f():\n  from dice_jax.models import dice\n  import dice_jax.losses.total\n")
  assert imported_parts(module) == {"models", "losses"}
