"""The trained weights that are shipped with the package, found by name."""

from __future__ import annotations

from pathlib import Path

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"


def weights_folder(name_or_dir: str | Path, shipped: Path = WEIGHTS_DIR) -> Path:
    """The folder of the weights: the shipped ones of that name, or `name_or_dir` itself.

    A name without a separator is that of shipped weights first; "./default" is a folder.

    Args:
        name_or_dir: a folder, or the name of shipped weights ("default").
        shipped: the folder that holds one folder for each name.

    Raises:
        FileNotFoundError: neither exists; the message lists the shipped names.
    """
    given = Path(name_or_dir)
    if str(name_or_dir).isidentifier() and (shipped / given).is_dir():
        return shipped / given
    if str(name_or_dir).strip() and given.is_dir():
        return given
    names = sorted(p.name for p in shipped.iterdir() if p.is_dir()) if shipped.is_dir() else []
    raise FileNotFoundError(
        f"no weights called {str(name_or_dir)!r}: "
        f"neither a folder nor shipped with dice_jax ({', '.join(names) or 'none'})"
    )
