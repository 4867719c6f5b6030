"""Collects poses and shapes of real hands and heads for the discriminators: pose_priors.npz.

  python -m dice_jax.tools.prepare_priors --freihand ~/FreiHAND_pub_v2 --renderme ~/renderme \\
      --data decaf --out ~/data

FreiHAND (https://lmb.informatik.uni-freiburg.de/projects/freihand, research only):
training_mano.json and training_xyz.json, or METRO's *.label.tsv of it. To find out whether its
poses are absolute or offsets from MANO's mean hand, MANO is posed both ways and compared with the
joints. RenderMe-360 (https://renderme-360.github.io, research only): FLAME fits, one folder per
person. --data: data sets of this project; hand_face_synth needs no license. All sources of one call
go into one file.
"""

from __future__ import annotations

from dice_jax import errors
from dice_jax.body_models import load_hand
from dice_jax.datasets import pose_prior_sources, registry
from dice_jax.errors import UserError
from dice_jax.input_pipeline import pose_priors
from dice_jax.io import atomic


def main(argv: list[str] | None = None, datasets: registry.Datasets = registry.DATASETS) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.prepare_priors")
    add = parser.add_argument
    add("--freihand", help="folder with training_mano.json and training_xyz.json")
    add("--metro", help="METRO's label file of FreiHAND (.label.tsv)")
    add("--renderme", help="folder of RenderMe-360's FLAME fits")
    add("--data", nargs="*", default=[], help="our data sets: decaf, hand_face_synth")
    add("--data_dir", help="their folder (default: $DICE_DATA or ~/.cache/dice_jax)")
    add("--size", type=int, help="number of samples of hand_face_synth")
    add("--limit", type=int, default=50_000, help="use at most so many samples of each data set")
    add("--hand", default="mano_right", help="hand model of FreiHAND's poses: a name or a file")
    add("--out", help="folder of pose_priors.npz (default: as --data_dir)")
    args = parser.parse_args(argv)

    hands, heads = {}, {}
    readers = {
        "freihand": pose_prior_sources.read_freihand,
        "metro": pose_prior_sources.read_metro,
    }
    for name, read in readers.items():
        path = getattr(args, name)
        if path:
            hands[name], explanation = pose_prior_sources.absolute_hands(
                read(path), load_hand(args.hand)
            )
            print(f"{name}: {explanation}")
    if args.renderme:
        heads["renderme"], left_out = pose_prior_sources.read_renderme(args.renderme)
        for line in left_out:
            print(f"renderme: left out: {line}")
        print(f"renderme: {len(left_out)} files left out")
    for name in args.data:
        source = registry.open_split(name, "train", args.data_dir, args.size, datasets=datasets)
        hands[name], heads[name] = pose_prior_sources.read_data_set(source, args.limit)
    if not hands and not heads:
        raise UserError("no source named: give --freihand, --metro, --renderme or --data")

    for arrays, sizes in ((hands, pose_priors.HAND), (heads, pose_priors.HEAD)):
        for name, values in arrays.items():
            pose_priors.check(values, sizes, name)
    priors = pose_priors.Priors(hands, heads)
    folder = atomic.writable_folder(registry.data_folder(args.out or args.data_dir))
    path = folder / pose_priors.FILE
    pose_priors.save(path, priors)
    print(f"{path}:\n{pose_priors.as_text(priors.counts())}")


if __name__ == "__main__":
    errors.run(main)
