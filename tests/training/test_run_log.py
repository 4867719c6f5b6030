"""The log of a run, read back by independent means."""

import json
import struct

import cv2
import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog

from dice_jax.training.run_log import RunLog


def events(workdir):
    """All events of `workdir/tensorboard`.

    A TFRecord consists of length, checksum, message and checksum.
    """
    for path in sorted((workdir / "tensorboard").glob("events.out.tfevents.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack("<Q", data[place : place + 8])
            yield Event.FromString(data[place + 12 : place + 12 + length])
            place += length + 16


def scalars(workdir):
    return {
        (value.tag, event.step): value.simple_value
        for event in events(workdir)
        for value in event.summary.value
        if value.HasField("simple_value")
    }


def test_the_json_lines_and_tensorboard_hold_the_same_values(tmp_path):
    run_log = RunLog(tmp_path, 0)
    run_log.log_training(2, {"loss": 1.5, "loss/params": np.float32(0.25)})
    run_log.log_validation(2, {"pve_mm": 12.5})
    run_log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "step": 2,
        "loss": 1.5,
        "loss/params": 0.25,
    }
    assert json.loads((tmp_path / "validation.jsonl").read_text()) == {"step": 2, "pve_mm": 12.5}
    assert scalars(tmp_path) == {
        ("training/loss", 2): 1.5,
        ("training/loss/params", 2): 0.25,
        ("validation/pve_mm", 2): 12.5,
    }


def test_a_sheet_is_written_as_a_png_and_to_tensorboard(tmp_path, rng):
    sheet = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    run_log = RunLog(tmp_path, 0)
    run_log.save_sheet(40, sheet)
    run_log.close()
    (file,) = (tmp_path / "sheets").iterdir()
    np.testing.assert_array_equal(cv2.imread(str(file))[..., ::-1], sheet)
    (image,) = (value.image for event in events(tmp_path) for value in event.summary.value)
    encoded = np.frombuffer(image.encoded_image_string, np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1], sheet)


def test_a_resumed_run_drops_entries_after_its_checkpoint(tmp_path):
    for restored in (0, 3):
        run_log = RunLog(tmp_path, restored)
        for step in range(restored + 1, restored + 6):
            run_log.log_training(step, {"loss": float(step)})
        run_log.close()
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 9))
    restarts = [
        event.step for event in events(tmp_path) if event.session_log.status == SessionLog.START
    ]
    assert restarts[-1] == 4  # TensorBoard hides earlier events from this step on


def test_processes_other_than_the_writer_create_no_files(tmp_path):
    run_log = RunLog(tmp_path, 0, writes=False)
    run_log.log_training(1, {"loss": 1.0})
    run_log.log_validation(1, {"pve_mm": 1.0})
    run_log.save_sheet(1, np.zeros((4, 4, 3), np.uint8))
    run_log.close()
    assert not list(tmp_path.iterdir())
