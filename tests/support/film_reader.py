"""An independent player of animated GLB files: interpolates the channels as glTF 2.0 says."""

from __future__ import annotations

import copy

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from support.glb_reader import Glb


def at(path, time: float) -> Glb:
    """The file with all nodes and weights as the animation has them at `time`, seconds."""
    glb = Glb(path)
    glb.nodes = copy.deepcopy(glb.nodes)
    for animation in glb.document.get("animations", []):
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times = glb.array(sampler["input"]).ravel().astype(float)
            rows = glb.array(sampler["output"]).astype(float).reshape(len(times), -1)
            node, kind = glb.nodes[channel["target"]["node"]], channel["target"]["path"]
            value = interpolate(times, rows, time, kind, sampler["interpolation"])
            if kind == "weights":
                glb.weights[glb.document["meshes"][node["mesh"]]["name"]] = value
            else:
                node[kind] = value.tolist()
    return glb


def interpolate(times, rows, time, kind, interpolation):
    """Appendix C of the standard."""
    moment = np.clip(time, times[0], times[-1])
    before = min(int(np.searchsorted(times, moment, side="right")) - 1, len(times) - 1)
    if interpolation == "STEP" or before == len(times) - 1:
        return rows[before]
    share = (moment - times[before]) / (times[before + 1] - times[before])
    if kind == "rotation":
        pair = Rotation.from_quat(rows[before : before + 2])
        return Slerp([0.0, 1.0], pair)([share]).as_quat()[0]
    return rows[before] + share * (rows[before + 1] - rows[before])
