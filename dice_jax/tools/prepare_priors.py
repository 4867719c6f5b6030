"""Collects poses and shapes of real hands and heads for the discriminators: pose_priors.npz.

  python -m dice_jax.tools.prepare_priors --freihand ~/FreiHAND_pub_v2 --renderme ~/renderme --data decaf --out ~/data

FreiHAND (https://lmb.informatik.uni-freiburg.de/projects/freihand, research only):
training_mano.json and training_xyz.json; or METRO's *.label.tsv of it. Whether its poses are
absolute or offsets from MANO's mean hand is settled by posing MANO both ways and comparing with the
joints. RenderMe-360 (https://renderme-360.github.io, research only): FLAME fits, one folder a
person. --data: data sets of ours by name; hand_face_synth needs no license. Whatever is not named
stays out; naming several at once makes one file of them.
"""

from __future__ import annotations

from pathlib import Path

from dice_jax import errors
from dice_jax.body_models import load_hand
from dice_jax.datasets import pose_prior_sources as readers
from dice_jax.datasets import registry
from dice_jax.errors import UserError
from dice_jax.input_pipeline import pose_priors
from dice_jax.io import atomic


def main(argv: list[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.prepare_priors")
    parser.add_argument("--freihand", help="folder with training_mano.json and training_xyz.json")
    parser.add_argument("--metro", help="METRO's label file of FreiHAND (.label.tsv)")
    parser.add_argument("--renderme", help="folder of RenderMe-360's FLAME fits")
    parser.add_argument(
        "--data", nargs="*", default=[], help="data sets of ours: decaf, hand_face_synth"
    )
    parser.add_argument(
        "--data-dir", help="where they lie (default: $DICE_DATA or ~/.cache/dice_jax)"
    )
    parser.add_argument(
        "--size", type=int, help="for hand_face_synth: how many samples it is made with"
    )
    parser.add_argument(
        "--limit", type=int, default=50_000, help="of each of them at most, evenly spaced"
    )
    parser.add_argument(
        "--hand", default="mano_right", help="hand model of FreiHAND's poses: a name or a file"
    )
    parser.add_argument("--out", help="folder of pose_priors.npz (default: as --data-dir)")
    args = parser.parse_args(argv)

    hands, heads = {}, {}
    for name, read in (("freihand", readers.read_freihand), ("metro", readers.read_metro)):
        if getattr(args, name):
            hands[name], told = readers.absolute_hands(
                read(getattr(args, name)), load_hand(args.hand)
            )
            print(f"{name}: {told}")
    if args.renderme:
        heads["renderme"], left_out = readers.read_renderme(args.renderme)
        for line in left_out:
            print(f"renderme: left out: {line}")
        print(f"renderme: {len(left_out)} files left out")
    for name in args.data:
        hands[name], heads[name] = readers.read_data_set(
            registry.open_split(name, "train", args.data_dir, args.size), args.limit
        )
    if not hands and not heads:
        raise UserError("no source named: give --freihand, --metro, --renderme or --data")

    for arrays, sizes in ((hands, pose_priors.HAND), (heads, pose_priors.HEAD)):
        for name, values in arrays.items():
            pose_priors.check(values, sizes, name)
    made = pose_priors.Priors(hands, heads)
    path = (
        Path(atomic.writable_folder(registry.data_folder(args.out or args.data_dir)))
        / pose_priors.FILE
    )
    pose_priors.save(path, made)
    print(f"{path}:\n{pose_priors.as_text(made.counts())}")


if __name__ == "__main__":
    errors.run(main)
