"""Poses and shapes of real hands and heads, `pose_priors`: what the discriminators take for true.

One file, `pose_priors.npz`, whatever the data sets it was made from (tools/prepare_priors.py):
absolute axis-angle poses in radians, MANO's and FLAME's betas, no images, no places in space.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from dice_jax.errors import UserError
from dice_jax.structs import HandParams, HeadParams

FILE = "pose_priors.npz"
HAND = dict(hand_pose=45, hand_betas=10)
HEAD = dict(head_betas=100, head_expression=50, head_jaw_pose=3)


@dataclasses.dataclass(frozen=True)
class Priors:
    """Parameters by source.

    Attributes:
        hand, head: for each source that has them, arrays under the names of `HAND` and of `HEAD`,
            (N, size) float32.
    """

    hand: Mapping[str, Mapping[str, Float[np.ndarray, "N _"]]]
    head: Mapping[str, Mapping[str, Float[np.ndarray, "N _"]]]

    def counts(self) -> dict[str, dict[str, int]]:
        """Hands and heads of each source."""
        size = lambda arrays: len(next(iter(arrays.values())))
        return {
            part: {name: size(arrays) for name, arrays in getattr(self, part).items()}
            for part in ("hand", "head")
        }

    def draw(
        self, seed: int, step: int, size: int, shares: Mapping[str, float] | None = None
    ) -> tuple[HandParams, HeadParams]:
        """Random hands and heads for one update: a pure function of its arguments, so that a run
        resumes exactly.

        Args:
            seed: of the run.
            step: number of the update.
            size: how many of each.
            shares: of the sources, as far as they have that part; by default all alike. The
                reference draws six of Decaf to four of FreiHAND, or of RenderMe-360.

        Returns:
            Parameters whose place and orientation are zero: discriminators do not see them.

        Raises:
            UserError: no source with a share has such a part.
        """
        rng = np.random.default_rng((seed, 2, step))
        hand, head = (
            _draw(part, size, shares, rng, kind)
            for part, kind in ((self.hand, "hand"), (self.head, "head"))
        )
        zeros = np.zeros((size, 3), np.float32)
        return (
            HandParams(hand["hand_betas"], zeros, hand["hand_pose"], zeros),
            HeadParams(
                head["head_betas"],
                head["head_expression"],
                zeros,
                zeros,
                head["head_jaw_pose"],
                zeros,
            ),
        )


def save(path: str | os.PathLike, priors: Priors) -> None:
    """Writes the file, whole or not at all."""
    arrays = {
        f"{part}/{source}/{name}": np.asarray(values, np.float32)
        for part in ("hand", "head")
        for source, named in getattr(priors, part).items()
        for name, values in named.items()
    }
    partial = f"{os.fspath(path)}.partial.npz"
    np.savez_compressed(partial, **arrays)
    os.replace(partial, path)


def load(path: str | os.PathLike) -> Priors:
    """Reads and checks the file.

    Raises:
        FileNotFoundError: it is not there; the message says what makes it.
        UserError: not such a file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"no pose priors at {path}: make them with python -m dice_jax.tools.prepare_priors"
        )
    parts: dict[str, dict] = {"hand": {}, "head": {}}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                part, source, name = key.split("/")
                parts[part].setdefault(source, {})[name] = archive[key]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a file of pose priors ({error}): make it again") from None
    for part, sizes in (("hand", HAND), ("head", HEAD)):
        for source, arrays in parts[part].items():
            check(arrays, sizes, f"{path}, {source}")
    return Priors(**parts)


def check(arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], source: str) -> None:
    """Raises a `UserError` unless `arrays` are finite, of `sizes`, and of one length, which is not
    0.
    """
    for name, size in sizes.items():
        array = arrays.get(name)
        if array is None or array.ndim != 2 or array.shape[1] != size or not len(array):
            raise UserError(
                f"{source}: {name} has shape {None if array is None else array.shape}, not (N, {size})"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{source}: {name} holds NaN or infinity")
    if len({len(arrays[name]) for name in sizes}) > 1:
        raise UserError(f"{source}: its arrays are not equally long")


def _draw(sources, size, shares, rng, kind):
    names = [name for name in sources if (shares or {}).get(name, 0 if shares else 1) > 0]
    if not names:
        raise UserError(
            f"the pose priors hold no {kind} of {', '.join(shares) if shares else 'any source'}"
        )
    weights = np.array([shares[name] if shares else 1.0 for name in names], float)
    chosen = rng.choice(len(names), size, p=weights / weights.sum())
    place = rng.random(size)
    rows = {}
    for field in sources[names[0]]:
        pick = lambda number, at, field=field: sources[names[number]][field][
            int(at * len(sources[names[number]][field]))
        ]
        rows[field] = np.stack([pick(number, at) for number, at in zip(chosen, place)])
    return rows


def parse_shares(text: str) -> dict[str, float] | None:
    """Shares for `Priors.draw` from "decaf:6+freihand:4"; None, all alike, from "".

    Raises:
        UserError: not such a text.
    """
    if not text:
        return None
    shares = {}
    for part in text.split("+"):
        name, _, share = part.strip().partition(":")
        try:
            shares[name] = float(share or 1)
        except ValueError:
            shares[name] = -1.0
        if not name or not 0 < shares[name] < float("inf"):
            raise UserError(
                f"data.prior_shares '{text}': each source with a positive share after a colon"
            )
    return shares


def as_text(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The counts of `Priors.counts` as a table."""
    names = sorted({name for part in counts.values() for name in part})
    lines = [f"{'source':20} {'hands':>8} {'heads':>8}"]
    lines += [
        f"{name:20} {counts['hand'].get(name, 0):8} {counts['head'].get(name, 0):8}"
        for name in names
    ]
    return "\n".join(lines)
