"""Builds a split of the open scenes ahead of time, on this machine or on a cluster.

  python -m dice_jax.tools.build_data --split train --size 12000
  python -m dice_jax.tools.build_data --split train --size 100000 --out /shared/data \\
      --beam --runner=FlinkRunner --flink_master=HOST:8081

Training and evaluation build what they miss by themselves; this command does it before. A split is
made in parts of 16 scenes, one process for each core. With --beam, Apache Beam makes the parts
(`pip install 'dice_jax[beam]'`); all words after it are options of its pipeline. The workers need
this package and must see the folder of the data sets under the same path. All ways make the same
bytes, and an interrupted build continues where it stopped, whichever way it goes on.
"""

from __future__ import annotations

import sys
import time

from dice_jax import errors
from dice_jax.datasets import hand_face_synth, part_engines, registry
from dice_jax.io import atomic


def main(argv: list[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m dice_jax.tools.build_data")
    add = parser.add_argument
    add("--split", required=True, choices=list(hand_face_synth.DEFAULT_SIZES))
    sizes = ", ".join(f"{size} of {name}" for name, size in hand_face_synth.DEFAULT_SIZES.items())
    add("--size", type=int, help=f"number of images (default: {sizes})")
    add("--out", help="folder of data sets (default: $DICE_DATA, or ~/.cache/dice_jax)")
    add("--beam", action="store_true", help="make the parts with Apache Beam; must come last")
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--beam") + 1 if "--beam" in words else len(words)
    args = parser.parse_args(words[:cut])

    engine = part_engines.through_beam(words[cut:]) if args.beam else part_engines.on_this_machine
    out = atomic.writable_folder(registry.data_folder(args.out))
    production = hand_face_synth.Production(engine=engine)
    start = time.monotonic()
    source = hand_face_synth.load_split(out, args.split, args.size, production)
    took = time.monotonic() - start
    print(f"{args.split}: {len(source)} images in {out}, {took:.0f} s")


if __name__ == "__main__":
    errors.run(main)
