"""Run by Blender's Python: imports a GLB and writes its meshes at some frames.

python blender_player.py film.glb out.npz FPS FRAME,FRAME,... NAME,NAME,...
"""

import sys

import bpy
import numpy as np


def vertices_of(name):
    """In the axes of glTF, meters."""
    evaluated = bpy.data.objects[name].evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    flat = np.empty(3 * len(mesh.vertices))
    mesh.vertices.foreach_get("co", flat)
    world = np.array(evaluated.matrix_world)
    x, y, z = (flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]).T
    return np.stack([x, z, -y], axis=1)


def main(source, out, fps, frames, names):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = int(fps)
    bpy.ops.import_scene.gltf(filepath=source)
    arrays = {}
    for frame in frames.split(","):
        bpy.context.scene.frame_set(int(frame))
        arrays |= {f"{name}_{frame}": vertices_of(name) for name in names.split(",")}
    np.savez(out, **arrays)


main(*sys.argv[1:])
