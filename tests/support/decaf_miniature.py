"""DecafDataset in miniature: the documented files, real videos among them, made of scenes of the
synthetic sampler.
"""

import dataclasses
import functools
import pickle

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dice_jax.body_models import load_hand, load_head, pose_head
from dice_jax.body_models.mano import OPENPOSE_FROM_MANO
from dice_jax.structs import HeadParams
from dice_jax.synthetic.sample import PinholeCamera, sample_face
from dice_jax.synthetic.scene_sampler import SceneSampler

SIZE = 224  # of the sampler's pictures; they stand in the middle of wider frames
WIDTH, HEIGHT, FOCAL, MARGIN = 400, SIZE, 500.0, 88
# FLAME's own root rotation, which Decaf's parameters carry besides that of the head.
OWN_ROOT = np.array([-0.129, 0.066, 0.008])
CUT = 2  # frame that follows a cut


@dataclasses.dataclass
class Truth:
    """World axes, one row for each frame; `cameras` as in the tree; of each camera the pictures and
    who is in them.
    """

    hand_vertices: np.ndarray
    head_vertices: np.ndarray
    deformed_head_vertices: np.ndarray
    hand_keypoints: np.ndarray
    head_keypoints: np.ndarray
    hand_contact: np.ndarray
    head_contact: np.ndarray
    cameras: dict
    pictures: dict
    masks: dict


@functools.cache
def sampler():
    # Decaf poses no neck.
    face = lambda rng: dataclasses.replace(sample_face(rng), neck_pose=np.zeros(3))
    return SceneSampler(seed=11, face_sampler=face)


@functools.cache
def neck():
    """Vertices that the tree's neck_idx files name."""
    return np.flatnonzero(np.asarray(load_head().region("neck")))


def write_take(
    root,
    mode,
    subject,
    cameras,
    *,
    frames=5,
    first=0,
    native_order=False,
    with_transforms=True,
):
    """Writes one subject, its frames the scenes from number `first` on; returns what its labels
    mean.
    """
    takes = [
        _frame(first + number, [_camera(i) for i in range(len(cameras))])
        for number in range(frames)
    ]
    params, deforms, labels = zip(*takes)
    truth = _truth(labels, {name: (_camera(i), _intrinsic()) for i, name in enumerate(cameras)})
    base = root / mode
    save = lambda path, array: (
        path.parent.mkdir(parents=True, exist_ok=True),
        np.save(path, array),
    )
    dump = lambda path, content: (
        path.parent.mkdir(parents=True, exist_ok=True),
        path.write_bytes(pickle.dumps(content)),
    )
    dump(base / f"params/{subject}/params_smoothed.pkl", dict(enumerate(params)))
    save(base / f"deformations/{subject}/deforms.npy", np.float32(deforms))
    for name, touching in (("head", truth.head_contact), ("rh", truth.hand_contact)):
        save(base / f"contacts/{subject}/contacts_{name}.npy", touching.astype(float))
    cameras_file = {
        name: dict(zip(("extrinsic", "intrinsic"), matrices))
        for name, matrices in truth.cameras.items()
    }
    dump(base / f"cameras/{subject}/cameras.pkl", cameras_file)
    dump(base / f"cutIDs/{subject}.pkl", [(CUT - 1, CUT)])
    if with_transforms:
        transforms = np.tile(np.eye(4), (frames, 1, 1))
        transforms[:, :3, :3] = Rotation.from_rotvec(
            [p["head"]["global_orient"] for p in params]
        ).as_matrix()
        save(
            root / f"assets/transformation/{mode}/{subject}_RT_FromCanToRef_wo_poseparams.npy",
            transforms,
        )
    for name in ("FLAME_neck_idx", "neck_idx"):
        save(root / f"assets/{name}.npy", neck())
    for name in cameras:
        hand, head = (
            _detections(points, truth.cameras[name])
            for points in (truth.hand_keypoints, truth.head_keypoints)
        )
        if native_order:
            hand = hand[:, np.argsort(OPENPOSE_FROM_MANO)]
        save(base / f"right_hand_keys/{subject}/{name}.npy", hand)
        save(base / f"head_keys/{subject}/{name}.npy", head)
        for part, keys in (("right_hand", hand), ("head", head)):
            low, high = keys[..., :2].min(1).clip(0), keys[..., :2].max(1).clip(1)
            save(base / f"{part}_bbs/{subject}/{name}.npy", np.concatenate([low, high], -1))
        write_video(base / "videos" / subject / f"{name}.mp4", truth.pictures[name])
        write_video(
            base / "segmentations" / subject / f"{name}.mp4",
            [255 * mask for mask in truth.masks[name]],
        )
    return truth


def write_video(path, pictures):
    """Wide frames whose middle are the pictures, their edges drawn out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for picture in pictures:
        picture = np.broadcast_to(np.uint8(picture).reshape(SIZE, SIZE, -1), (SIZE, SIZE, 3))
        frame = np.pad(picture, ((0, 0), (MARGIN, WIDTH - SIZE - MARGIN), (0, 0)), mode="edge")
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def _camera(number):
    """World to camera: in front of a head that looks along z, y up, from 0.94 m."""
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = (
        np.diag([1.0, -1.0, -1.0]) @ Rotation.from_rotvec([0.05, 0.3 * number, -0.1]).as_matrix()
    )
    extrinsic[:3, 3] = [0.01, -0.02, 0.94]
    return extrinsic


def _intrinsic():
    return np.array([[FOCAL, 0, SIZE / 2 + MARGIN], [0, FOCAL, SIZE / 2], [0, 0, 1]])


def _frame(number, extrinsics):
    """A scene as Decaf writes it down, its deformations in Decaf's axes, and what they mean in the
    world's.
    """
    rng, still = np.random.default_rng(number), np.zeros(3)
    turn, shift = Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix(), rng.normal(0, 0.02, 3)
    views = [
        (extrinsic[:3, :3] @ turn, extrinsic[:3, :3] @ shift + extrinsic[:3, 3])
        for extrinsic in extrinsics
    ]
    cameras = [PinholeCamera(*view, FOCAL, np.full(2, SIZE / 2)) for view in views]
    scene = sampler().solver.solve(number)
    seen = sampler().scene_with_renderings(number, cameras)

    world = lambda points: points @ turn.T + shift
    hand_root = _root(load_hand(), scene.person.hand_betas)
    hand, hand_transl = scene.hand_params, np.asarray(scene.hand_params.transl, np.float64)
    orient = turn @ Rotation.from_rotvec(np.asarray(hand.global_orient, np.float64)).as_matrix()
    head_betas = scene.person.head_betas
    own = pose_head(
        load_head(),
        HeadParams(
            *(
                np.float32(x)
                for x in (
                    head_betas,
                    scene.face.expression,
                    OWN_ROOT,
                    still,
                    scene.face.jaw_pose,
                    still,
                )
            )
        ),
    )
    root, centroid = (
        np.asarray(own.joints[0], np.float64),
        np.asarray(own.vertices, np.float64).mean(0),
    )
    outer = turn @ Rotation.from_rotvec(OWN_ROOT).as_matrix().T
    params = {
        "head": dict(
            transl=world(root) - outer @ (root - centroid) - centroid,
            expression_params=scene.face.expression,
            global_orient=Rotation.from_matrix(outer).as_rotvec(),
            shape_params=head_betas,
            pose_params=np.concatenate([OWN_ROOT, scene.face.jaw_pose]),
        ),
        "right_hand": dict(
            transl=world(hand_root + hand_transl) - hand_root,
            global_orient=Rotation.from_matrix(orient).as_rotvec(),
            betas=scene.person.hand_betas,
            hand_pose=hand.hand_pose,
        ),
    }
    deformations, head_contact = scene.deformations @ turn.T, scene.head_contact.copy()
    deforms = deformations @ outer
    deforms[neck()[:5]], head_contact[neck()[:3]] = 0.01, True  # must be taken away
    deformations[neck()] = 0
    labels = dict(
        hand_vertices=world(scene.hand_vertices),
        head_vertices=world(scene.head_vertices),
        deformed_head_vertices=world(scene.head_vertices) - deformations,
        hand_keypoints=world(scene.hand_keypoints),
        head_keypoints=world(scene.head_keypoints),
        hand_contact=scene.hand_contact,
        head_contact=head_contact,
        pictures=[example["image"] for example, _ in seen],
        masks=[rendering.hand_mask | rendering.head_mask for _, rendering in seen],
    )
    as_arrays = lambda fields: {
        name: np.asarray(value, np.float64) for name, value in fields.items()
    }
    return {part: as_arrays(fields) for part, fields in params.items()}, deforms, labels


def _root(model, betas):
    """Where the root joint rests."""
    template = (
        np.asarray(model.v_template, np.float64) + np.asarray(model.shapedirs, np.float64) @ betas
    )
    return np.asarray(model.J_regressor, np.float64)[0] @ template


def _truth(labels, cameras):
    stacked = {name: np.stack([frame[name] for frame in labels]) for name in labels[0]}
    for name in ("pictures", "masks"):
        stacked[name] = dict(zip(cameras, stacked[name].swapaxes(0, 1)))
    return Truth(**stacked, cameras=cameras)


def _detections(points, camera):
    extrinsic, intrinsic = camera
    projected = (points @ extrinsic[:3, :3].T + extrinsic[:3, 3]) @ intrinsic.T
    return np.concatenate(
        [projected[..., :2] / projected[..., 2:], np.full((*points.shape[:-1], 1), 0.9)], -1
    )
