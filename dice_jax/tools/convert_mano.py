"""Converts MANO's hands to the format of this package, once.

  python -m dice_jax.tools.convert_mano --assets ~/dice_assets

Register at https://mano.is.tue.mpg.de, download "Models & Code" (v1.2), and put MANO_RIGHT.pkl,
MANO_LEFT.pkl or the unpacked folder mano_v1_2 into the assets folder. The tool writes
mano_right.npz and mano_left.npz beside them. It needs neither chumpy nor torch and executes nothing
in the files.
"""

from __future__ import annotations

from collections.abc import Sequence

from dice_jax import errors
from dice_jax.body_models import asset_folder, licensed
from dice_jax.tools import licensed_files


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.convert_mano")
    parser.add_argument("--assets", help="folder of licensed files (default: $DICE_ASSETS)")
    parser.add_argument(
        "--side",
        choices=("right", "left", "both"),
        default="both",
        help="hands to convert; both: each one whose file is there (default: both)",
    )
    parser.add_argument(
        "--mirror_left_shapes",
        action="store_true",
        help="negate the x of the left hand's shape blend shapes, which v1.2 copied from the right "
        "hand; the same betas then give mirrored hands. Without it the result equals what smplx "
        "loads",
    )
    args = parser.parse_args(argv)

    folder = asset_folder.assets_folder(args.assets)
    sides = ("right", "left") if args.side == "both" else (args.side,)
    found = {side: licensed_files.find(folder, licensed_files.MANO[side]) for side in sides}
    if not any(found.values()):
        names = " or ".join(f"MANO_{side.upper()}.pkl" for side in sides)
        subfolders = ", ".join(licensed_files.MANO_FOLDERS)
        raise errors.UserError(
            f"no {names} in {folder} (or its subfolders {subfolders}): "
            "register at https://mano.is.tue.mpg.de and put it there"
        )
    for side, path in found.items():
        if path is None:
            print(f"mano_{side}: MANO_{side.upper()}.pkl is not in {folder}, skipped")
            continue
        mirror = args.mirror_left_shapes and side == "left"
        model = licensed.convert_mano(path, mirror_shapedirs=mirror)
        licensed_files.save(folder / f"mano_{side}.npz", model)


if __name__ == "__main__":
    errors.run(main)
