"""Pose priors: poses and shapes of real hands and heads, the discriminators' real samples.

One file, `pose_priors.npz`, for all sources (see `dice_jax.tools.prepare_priors`): absolute
axis-angle poses in radians, betas of MANO and FLAME, and neither images nor translations.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dice_jax.errors import UserError
from dice_jax.io import atomic
from dice_jax.structs import HandParams, HeadParams
from dice_jax.untrusted_files import npz

FILE = "pose_priors.npz"
# The arrays of each source and the sizes of their rows.
HAND = dict(hand_pose=45, hand_betas=10)
HEAD = dict(head_betas=100, head_expression=50, head_jaw_pose=3)

Arrays = Mapping[str, Float[np.ndarray, "_ _"]]


@dataclasses.dataclass(frozen=True)
class Priors:
    """Parameters by source.

    Attributes:
        hand, head: for each source, arrays (N, size) under the names of `HAND` and of `HEAD`.
    """

    hand: Mapping[str, Arrays]
    head: Mapping[str, Arrays]

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of hands and of heads of each source."""
        count = lambda arrays: len(next(iter(arrays.values())))
        return {
            part: {source: count(arrays) for source, arrays in getattr(self, part).items()}
            for part in ("hand", "head")
        }

    def draw(
        self, seed: int, step: int, size: int, shares: Mapping[str, float] | None = None
    ) -> tuple[HandParams, HeadParams]:
        """Draws random hands and heads for one update.

        The result is a pure function of the arguments, so that a run resumes exactly.

        Args:
            seed: of the run.
            step: number of the update.
            size: number of hands, and of heads.
            shares: of the sources; None: equal shares. A source without hands (or heads) does not
                count for hands (or heads). The reference draws 6 of Decaf to 4 of FreiHAND, or of
                RenderMe-360.

        Returns:
            Parameters with zero translation and orientation, which discriminators do not use, and
            zero neck pose, as in the labels of Decaf.

        Raises:
            UserError: no source with a share has hands, or none has heads.
        """
        rng = np.random.default_rng((seed, 2, step))
        hand = _draw(self.hand, size, shares, rng, "hand")
        head = _draw(self.head, size, shares, rng, "head")
        zeros = np.zeros((size, 3), np.float32)
        hand_params = HandParams(
            betas=hand["hand_betas"],
            global_orient=zeros,
            hand_pose=hand["hand_pose"],
            transl=zeros,
        )
        head_params = HeadParams(
            betas=head["head_betas"],
            expression=head["head_expression"],
            global_orient=zeros,
            neck_pose=zeros,
            jaw_pose=head["head_jaw_pose"],
            transl=zeros,
        )
        return hand_params, head_params


def save(path: str | os.PathLike, priors: Priors) -> None:
    """Writes the file, whole or not at all."""
    arrays = {
        f"{part}/{source}/{name}": np.asarray(values, np.float32)
        for part in ("hand", "head")
        for source, named in getattr(priors, part).items()
        for name, values in named.items()
    }
    with atomic.atomic_path(Path(path)) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load(path: str | os.PathLike) -> Priors:
    """Reads and checks the file.

    Raises:
        FileNotFoundError: it does not exist; the message names the command that makes it.
        UserError: it is not a file of pose priors.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no pose priors at {path}: make them with python -m dice_jax.tools.prepare_priors"
        )
    parts: dict[str, dict[str, dict[str, np.ndarray]]] = {"hand": {}, "head": {}}
    arrays = npz.read_npz(
        path,
        others=npz.Array(npz.FLOATS, (None, None)),
        what="a file of pose priors",
        remedy="make it again",
    )
    known = {"hand": HAND, "head": HEAD}
    for key, array in arrays.items():
        part, _, rest = key.partition("/")
        source, _, name = rest.rpartition("/")
        if not source or "/" in source or name not in known.get(part, ()):
            raise UserError(f"{path} has an unknown array {key[:80]!r}; make it again")
        parts[part].setdefault(source, {})[name] = array
    for part, sizes in known.items():
        for source, arrays in parts[part].items():
            check(arrays, sizes, f"{path}, {source}")
    return Priors(**parts)


def check(arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int], source: str) -> None:
    """Checks the arrays of a source.

    Raises:
        UserError: an array is missing, empty, not finite, of another size or another length.
    """
    for name, size in sizes.items():
        array = arrays.get(name)
        if array is None or array.ndim != 2 or array.shape[1] != size or not len(array):
            shape = None if array is None else array.shape
            raise UserError(f"{source}: {name} has shape {shape}, not (N, {size})")
        if not np.isfinite(array).all():
            raise UserError(f"{source}: {name} contains NaN or infinity")
    if len({len(arrays[name]) for name in sizes}) > 1:
        raise UserError(f"{source}: its arrays have different lengths")


def _draw(
    sources: Mapping[str, Arrays],
    size: int,
    shares: Mapping[str, float] | None,
    rng: np.random.Generator,
    part: str,
) -> dict[str, np.ndarray]:
    """Draws `size` rows; all arrays of a row belong to the same hand or head."""
    share_of = lambda name: shares.get(name, 0.0) if shares else 1.0
    names = [name for name in sources if share_of(name) > 0]
    if not names:
        raise UserError(
            f"the pose priors contain no {part} of {', '.join(shares) if shares else 'any source'}"
        )
    weights = np.array([share_of(name) for name in names], float)
    chosen = rng.choice(len(names), size, p=weights / weights.sum())
    positions = rng.random(size)  # in the arrays of the chosen source, from 0 to 1
    pick = lambda values, position: values[int(position * len(values))]
    return {
        field: np.stack(
            [pick(sources[names[i]][field], position) for i, position in zip(chosen, positions)]
        )
        for field in sources[names[0]]
    }


def parse_shares(text: str) -> dict[str, float] | None:
    """Parses shares for `Priors.draw`, as in "decaf:6+freihand:4"; None for "": equal shares.

    Raises:
        UserError: a share that is not a positive number.
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
                f"data.prior_shares '{text}': name each source with a positive share after a colon"
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
