"""Converts the FLAME head to the format of this package, once.

  python -m dice_jax.tools.convert_flame --assets ~/dice_assets

Register at https://flame.is.tue.mpg.de, download FLAME 2020 or 2023, and put generic_model.pkl into
the folder of assets, together with landmark_embedding.npy from the folder `data` of
https://github.com/yfeng95/DECA. Writes flame.npz beside them: 100 betas, 50 expressions, 68 static
landmarks, coarse levels, cavities, regions. Neither chumpy nor torch is needed, and nothing in the
files is executed. Half a minute.
"""

from __future__ import annotations

from dice_jax import errors
from dice_jax.body_models import asset_folder, licensed
from dice_jax.tools import command_line, licensed_files


def main(argv: list[str] | None = None) -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--assets", help="folder of licensed files (default: $DICE_ASSETS)")
    args = parser.parse_args(argv)

    folder = asset_folder.assets_folder(args.assets)
    model_path = licensed_files.find(folder, licensed_files.FLAME)
    landmarks = licensed_files.find(folder, licensed_files.LANDMARKS)
    missing = []
    if model_path is None:
        missing.append("generic_model.pkl (register at https://flame.is.tue.mpg.de)")
    if landmarks is None:
        missing.append("landmark_embedding.npy (folder data of https://github.com/yfeng95/DECA)")
    if missing:
        raise errors.UserError(f"not in {folder}: {' and '.join(missing)}; put it there")
    licensed_files.save(folder / "flame.npz", licensed.convert_flame(model_path, landmarks))


if __name__ == "__main__":
    command_line.run(main)
