"""The flags of the demo, and its help."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from dice_jax import reconstruction
from dice_jax.io import images
from dice_jax.sequences.people import STRENGTHS
from dice_jax.visualization import demo_results

EXAMPLES = """examples:
  the photos that ship with the package
    python -m dice_jax.demo
  one photo, a folder of photos
    python -m dice_jax.demo --image me.jpg holiday/ --out outputs
  a pattern, in quotes, and a list on the standard input
    python -m dice_jax.demo --image 'holiday/**/IMG_*.jpg'
    find photos -name '*.jpg' -newer last_run | python -m dice_jax.demo --image -
  a video, smoothed strongly; killed, it goes on where it was
    python -m dice_jax.demo --video me.mp4 --smooth strong
  a video as one animated GLB, for Blender or three.js
    python -m dice_jax.demo --video me.mp4 --mesh rig
  live from the first webcam, and as a film
    python -m dice_jax.demo --camera 0 --record me.mp4
  the second of eight machines that share the work, without what is done already
    python -m dice_jax.demo --image photos/ --out results --shard 2/8 --skip_done
  the surest hand is a LEFT one, whatever the detector says
    python -m dice_jax.demo --image left.jpg --hand left
  both hands are in the picture, also where the detector doubts one
    python -m dice_jax.demo --image prayer.jpg --hand both
  the person in a rectangle: left, top, width, height
    python -m dice_jax.demo --image group.jpg --box 420 80 300 340
  the network alone, without the fit to detected landmarks
    python -m dice_jax.demo --image me.jpg --fit off
  your own weights, OBJ meshes, and the meshes over the whole photo
    python -m dice_jax.demo --image me.jpg --weights runs/small --mesh obj --full_frame

for each person in the input NAME, in the folder --out (NAME_2 for the second person):
  NAME_overlay.png   the crop, and the meshes over it
  NAME_side.png      other views, contact on hand and face, size of the deformation
  NAME.glb           the meshes with contact colors, for any 3D viewer (meters, y up)
                     NAME_right_hand.ply and so on with --mesh ply
  NAME_rig.glb       with --mesh rig: skeletons and pose correctives, to pose in Blender or three.js
  NAME_params.npz    parameters named as in smplx, cameras of crop and photo, contact, deformations
  NAME_params.json   the parameters and cameras, and what they mean
  NAME_contact.csv   which part of a hand touches which part of the face
  NAME_report.html   with --report: the meshes to turn, pictures and contacts, in one page

for each video NAME:
  NAME_overlay.mp4   the film with the meshes over it, and its sound
  NAME_rig.glb       with --mesh rig: the skeletons of everybody, animated, and the camera
  NAME_params.npz    parameters and cameras of every person in every frame
  NAME_contact.csv   which part of a hand touches which part of the face, from when to when

best photos: hand on the face, hand and whole head in view, face at least 100 pixels wide. What is
not in the picture is not drawn, and the printed line says so."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; argparse prints an error and exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m dice_jax.demo",
        description="Reconstructs hands, head, deformations and contact from photos.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--image",
        nargs="+",
        metavar="PATH",
        help="photos, folders of photos (with the folders in them), patterns such as '*.jpg', or - "
        "for a list on the standard input, one a line (default: the package's samples)",
    )
    add(
        "--video",
        nargs="+",
        metavar="PATH",
        help="videos, or folders of videos: the meshes over the film, parameters and contacts",
    )
    add(
        "--camera",
        type=int,
        metavar="N",
        help="live from a webcam, the first one is 0: the meshes in a window until q is pressed",
    )
    add(
        "--record",
        metavar="FILE",
        help="also write what the window shows, as .mp4; without a window, Ctrl-C ends it",
    )
    add(
        "--smooth",
        choices=STRENGTHS,
        default="light",
        help="how much motion in a video, or live, is smoothed (default: light)",
    )
    add("--out", default="outputs", metavar="DIR", help="folder of the results (default: outputs)")
    add(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="work on every N-th file alone, from the I-th on, I from 1 to N; auto: I and N are "
        "those of this task of a SLURM array",
    )
    add(
        "--skip_done",
        action="store_true",
        help="leave out files whose results are in --out already, by their names",
    )
    add(
        "--weights",
        default="default",
        metavar="NAME|DIR",
        help="shipped weights, an exported folder or a training workdir (default: default)",
    )
    add(
        "--hand",
        choices=reconstruction.SIDES,
        default="auto",
        help="auto: every hand that is found; both: everybody shows both hands: the second one is "
        "searched longer, and a doubtful one is taken; right, left: the surest one of each person, "
        "taken as that hand (default: auto)",
    )
    add(
        "--fit",
        choices=("on", "off"),
        default="on",
        help="on: fit the meshes to detected landmarks; off: the network alone, which believes "
        "that a hand is there (default: on)",
    )
    add(
        "--presence_gate",
        choices=("on", "off"),
        default="on",
        help="with --fit off. on: nothing touches and no skin gives way where the network says "
        "that hand and face do not touch; off: as in the authors' demo (default: on)",
    )
    add(
        "--crop",
        choices=reconstruction.CROPS,
        default="auto",
        help="what the network sees. auto: each person; center: the central square; "
        "full: the whole photo, padded (default: auto)",
    )
    add(
        "--box",
        nargs=4,
        type=float,
        metavar=("X", "Y", "W", "H"),
        help="the person in this rectangle alone, for a face that the detector misses or one of "
        "several people: left, top, width and height around head and hands, in pixels of the "
        "upright photo",
    )
    add(
        "--mesh",
        choices=demo_results.MESHES,
        default="glb",
        help="file format of the meshes; rig: GLB, and one with skeletons to pose; of a video, one "
        "animated GLB (default: glb)",
    )
    add(
        "--pictures",
        choices=demo_results.PICTURES,
        default="all",
        help="overlay: NAME_overlay.png alone, several times as fast; none: no pictures "
        "(default: all)",
    )
    add(
        "--report",
        action="store_true",
        help="also write NAME_report.html: one page with the meshes, which one can turn",
    )
    add(
        "--full_frame",
        action="store_true",
        help="also write NAME_photo.png, the meshes over the whole photo",
    )
    add(
        "--focal_length",
        type=float,
        metavar="PX",
        help="of the photo, in pixels (default: the photo's diagonal)",
    )
    add(
        "--max_megapixels",
        type=float,
        default=images.MAX_MEGAPIXELS,
        metavar="N",
        help="larger photos are refused, by the size in their header (default: %(default)g)",
    )
    args = parser.parse_args(argv)
    if args.hand == "both" and args.fit == "off":
        parser.error("--hand both needs --fit on: the network alone answers for one hand")
    if args.presence_gate == "off" and args.fit == "on":
        parser.error("--presence_gate off needs --fit off: the fit measures what touches")
    if not 0 < args.max_megapixels < 1e6:
        parser.error(f"--max_megapixels must be positive, got {args.max_megapixels}")
    if args.focal_length is not None and not 0 < args.focal_length < 1e9:
        parser.error(f"--focal_length must be positive, got {args.focal_length}")
    if args.camera is not None and (args.image or args.video):
        parser.error("--camera is live: it does not go with --image or --video")
    if args.camera is not None and not 0 <= args.camera < 1000:
        parser.error(f"--camera is the number of a webcam, from 0 on, got {args.camera}")
    if args.record is not None and args.camera is None:
        parser.error("--record is what --camera shows; --video writes its film by itself")
    if args.record is not None and not args.record.lower().endswith(".mp4"):
        parser.error(f"--record is an .mp4 file, got {args.record}")
    if args.box is not None and not (all(map(math.isfinite, args.box)) and min(args.box[2:]) >= 1):
        parser.error(f"--box needs a width and a height of at least a pixel, got {args.box}")
    if args.box is not None and args.crop != "auto":
        parser.error("--box says what the network sees, so it does not go with --crop")
    return args
