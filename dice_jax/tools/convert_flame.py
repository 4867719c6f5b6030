"""Converts the FLAME head to the format of this package, once.

  python -m dice_jax.tools.convert_flame --assets ~/dice_assets

Register at https://flame.is.tue.mpg.de, download FLAME 2020 or 2023, and put generic_model.pkl into
the assets folder, together with landmark_embedding.npy from the folder `data` of
https://github.com/yfeng95/DECA. The tool writes flame.npz beside them: 100 betas, 50 expression
coefficients, 68 static landmarks, coarse levels, cavities and regions. It needs neither chumpy nor
torch, executes nothing in the files, and takes half a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

from dice_jax import errors
from dice_jax.body_models import asset_folder, licensed
from dice_jax.tools import licensed_files


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.convert_flame")
    parser.add_argument("--assets", help="folder of licensed files (default: $DICE_ASSETS)")
    args = parser.parse_args(argv)

    folder = asset_folder.assets_folder(args.assets)
    model_path = licensed_files.find(folder, licensed_files.FLAME)
    landmarks_path = licensed_files.find(folder, licensed_files.LANDMARKS)
    missing = []
    if model_path is None:
        missing.append("generic_model.pkl (register at https://flame.is.tue.mpg.de)")
    if landmarks_path is None:
        missing.append("landmark_embedding.npy (folder data of https://github.com/yfeng95/DECA)")
    if model_path is None or landmarks_path is None:
        raise errors.UserError(f"not in {folder}: {' and '.join(missing)}; put it there")
    licensed_files.save(folder / "flame.npz", licensed.convert_flame(model_path, landmarks_path))


if __name__ == "__main__":
    errors.run(main)
