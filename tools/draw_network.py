"""Draws the network as one picture, docs/images/network.svg.

  python tools/draw_network.py --out docs/images/network.svg

The sizes that depend on the body models are read from dice_jax.constants.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Sequence
from pathlib import Path

from dice_jax.constants import CROP_SIZE, HAND_LEVELS, HEAD_LEVELS

WIDTH, HEIGHT = 1230, 670
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
# Fill and outline of each kind of box.
COLORS = {
    "array": ("#ffffff", "#64748b"),
    "network": ("#dbeafe", "#2563eb"),
    "body": ("#fef3c7", "#d97706"),
    "result": ("#dcfce7", "#16a34a"),
    "option": ("#f8fafc", "#94a3b8"),
    "loss": ("#fce7f3", "#db2777"),
}
TEXT, ARROW = "#0f172a", "#475569"
LINE_HEIGHT = 16


class Box:
    """A rounded rectangle with a title and further lines, given by its center."""

    def __init__(
        self,
        kind: str,
        center: tuple[float, float],
        size: tuple[float, float],
        title: str,
        *lines: str,
    ):
        self.kind, self.center, self.size = kind, center, size
        self.title, self.lines = title, lines

    @property
    def left(self) -> tuple[float, float]:
        return self.center[0] - self.size[0] / 2, self.center[1]

    @property
    def right(self) -> tuple[float, float]:
        return self.center[0] + self.size[0] / 2, self.center[1]

    @property
    def top(self) -> tuple[float, float]:
        return self.center[0], self.center[1] - self.size[1] / 2

    @property
    def bottom(self) -> tuple[float, float]:
        return self.center[0], self.center[1] + self.size[1] / 2

    def svg(self) -> str:
        fill, outline = COLORS[self.kind]
        (x, y), (width, height) = self.center, self.size
        dashes = ' stroke-dasharray="6 4"' if self.kind == "option" else ""
        first = y - LINE_HEIGHT * len(self.lines) / 2 + 5
        rows = [
            text((x, first + LINE_HEIGHT * i), line, bold=i == 0, size=14 if i == 0 else 12)
            for i, line in enumerate((self.title, *self.lines))
        ]
        return "\n".join(
            [
                f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
                f'height="{height:g}" rx="8" fill="{fill}" stroke="{outline}" '
                f'stroke-width="1.5"{dashes}/>',
                *rows,
            ]
        )


def text(
    position: tuple[float, float],
    content: str,
    *,
    bold: bool = False,
    size: int = 12,
    anchor: str = "middle",
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{position[0]:g}" y="{position[1]:g}" font-size="{size}" '
        f'text-anchor="{anchor}" fill="{TEXT}"{weight}>{html.escape(content)}</text>'
    )


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    """A line through `points` with a head at its end."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{ARROW}" stroke-width="1.5" '
        f'marker-end="url(#head)"{dashes}/>'
    )


def draw() -> str:
    """The picture as SVG."""
    num_hand, num_head = HAND_LEVELS[0], HEAD_LEVELS[0]
    hand_levels = " → ".join(map(str, reversed(HAND_LEVELS)))
    head_levels = " → ".join(map(str, reversed(HEAD_LEVELS)))
    num_tokens = 21 + 68 + HAND_LEVELS[-1] + HEAD_LEVELS[-1]

    upper, lower = 150, 390
    image = Box("array", (70, 270), (110, 70), "image", f"{CROP_SIZE} × {CROP_SIZE} RGB")
    backbone = Box("network", (215, 270), (130, 88), "backbone", "HRNet-W64", "7 × 7 × 2048")
    tokens = Box(
        "network",
        (385, 270),
        (150, 122),
        f"{num_tokens} tokens",
        "21 + 68 keypoints,",
        f"{HAND_LEVELS[-1]} + {HEAD_LEVELS[-1]} vertices;",
        "each joined with its",
        "place on the template",
    )
    mesh_net = Box(
        "network", (570, upper), (156, 88), "MeshNet", "3 encoders of", "width 1024, 256, 128"
    )
    rough = Box(
        "array",
        (762, upper),
        (176, 104),
        "rough meshes V′",
        "and 21 + 68 keypoints",
        f"hand {hand_levels}",
        f"head {head_levels}",
    )
    ik_nets = Box(
        "network", (928, upper), (120, 88), "IKNets", "one for the hand,", "one for the head"
    )
    bodies = Box(
        "body",
        (1115, upper),
        (190, 104),
        "body models",
        "MANO and FLAME,",
        "or the open models:",
        "parameters → vertices",
    )
    interaction_net = Box(
        "network",
        (570, lower),
        (156, 88),
        "InteractionNet",
        "2 encoders of",
        "width 256, 64",
    )
    fields = Box(
        "array",
        (762, lower),
        (176, 88),
        "deformations D",
        "and contact, up-sampled",
        "as the meshes are",
    )
    presence = Box("network", (385, 555), (150, 56), "presence head", "contact in the image")
    camera = Box("network", (385, 40), (150, 56), "camera head", "scale, translation")
    hand_out = Box("result", (1115, 275), (190, 56), "hand mesh", f"{num_hand} vertices")
    head_out = Box(
        "result",
        (1115, lower),
        (190, 72),
        "deformed head mesh",
        f"{num_head} vertices:",
        "V_F = V*_F − D",
    )
    contact_out = Box(
        "result",
        (1115, 500),
        (190, 72),
        "contact probabilities",
        f"hand {num_hand}, head {num_head};",
        "presence of contact",
    )
    camera_out = Box("result", (1115, 40), (190, 56), "camera", "scaled orthography")
    fine_map = Box(
        "option",
        (570, 270),
        (156, 72),
        "fine map, 28 × 28",
        "small network only:",
        "features at the mesh",
    )
    losses = Box(
        "loss",
        (615, 632),
        (1190, 50),
        "training: L = 12.5 L_mesh + 5 L_interaction + L_adv + 2.5 L_depth",
        "two discriminators on the parameters; a differentiable z-buffer for the depth",
    )
    boxes = [
        image, backbone, tokens, mesh_net, rough, ik_nets, bodies, interaction_net, fields,
        presence, camera, hand_out, head_out, contact_out, camera_out, fine_map, losses,
    ]  # fmt: skip

    split = (tokens.right[0] + 20, tokens.center[1])
    trunk = backbone.right[0] + 14
    contact_row = contact_out.center[1] - 14
    presence_row = contact_out.center[1] + 14
    right_trunk = bodies.left[0] - 16
    arrows = [
        arrow(image.right, backbone.left),
        arrow(backbone.right, tokens.left),
        arrow(tokens.right, split, (split[0], upper), mesh_net.left),
        arrow(tokens.right, split, (split[0], lower), interaction_net.left),
        arrow(mesh_net.right, rough.left),
        arrow(rough.right, ik_nets.left),
        arrow(ik_nets.right, bodies.left),
        arrow(bodies.bottom, hand_out.top),
        arrow(interaction_net.right, fields.left),
        arrow(fields.right, head_out.left),
        arrow(fields.bottom, (fields.center[0], contact_row), (contact_out.left[0], contact_row)),
        arrow((trunk, 270), (trunk, presence.center[1]), presence.left),
        arrow(
            presence.right,
            (right_trunk, presence.center[1]),
            (right_trunk, presence_row),
            (contact_out.left[0], presence_row),
        ),
        arrow(mesh_net.top, (mesh_net.center[0], camera.center[1] + 16), (camera.right[0], 56)),
        arrow(camera.right, camera_out.left),
        # The head of the body model, to which the deformations are added.
        arrow(
            (bodies.left[0] + 12, bodies.bottom[1]),
            (bodies.left[0] + 12, 224),
            (right_trunk, 224),
            (right_trunk, head_out.center[1] - 18),
            (head_out.left[0], head_out.center[1] - 18),
        ),
        arrow(fine_map.top, mesh_net.bottom, dashed=True),
        arrow(fine_map.bottom, interaction_net.top, dashed=True),
        arrow(
            (backbone.center[0], backbone.top[1]),
            (backbone.center[0], 192),
            (split[0] + 8, 192),
            (split[0] + 8, 256),
            (fine_map.left[0], 256),
            dashed=True,
        ),
    ]
    marker = (
        '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="{ARROW}"/></marker>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="{FONT}">',
            "<title>The network of DICE</title>",
            f"<defs>{marker}</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *arrows,
            *(box.svg() for box in boxes),
            "</svg>\n",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/network.svg"))
    args = parser.parse_args(argv)
    args.out.write_text(draw())


if __name__ == "__main__":
    main()
