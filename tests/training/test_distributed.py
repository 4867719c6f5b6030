"""Training on one device, on several devices, and in several processes gives the same losses."""

import contextlib
import json
import socket

import numpy as np
import pytest
from support.train_process import STEPS, TrainProcess, uninterrupted_run

from dice_jax.errors import UserError
from dice_jax.training import distributed


def start_two_processes(workdir, pause=0.0):
    """Both processes of a distributed training, with two devices each."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    flags = (f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2")
    return [
        TrainProcess(workdir, *flags, f"--process_id={i}", devices=2, pause=pause) for i in range(2)
    ]


def finish(processes):
    """Standard output of all processes, which have to succeed."""
    try:
        return [process.succeed().stdout for process in processes]
    finally:
        for process in processes:
            process.kill()


def assert_same_losses(workdir, expected_workdir):
    """Equal metrics in every step, within rounding errors."""
    names, values = logged(workdir)
    expected_names, expected = logged(expected_workdir)
    assert names == expected_names
    np.testing.assert_allclose(values, expected, rtol=1e-3)


def logged(workdir):
    """Names and values, (steps, names), of all logged metrics but the speed."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    names = sorted(set(lines[0]) - {"step", "images_per_second"})
    return names, np.array([[line[name] for name in names] for line in lines])


@pytest.mark.slow
def test_several_devices_train_as_one(tmp_path):
    TrainProcess(tmp_path, devices=4).succeed()
    assert_same_losses(tmp_path, uninterrupted_run())


def test_two_processes_train_as_one_and_only_one_of_them_writes(tmp_path):
    """The run is interrupted by a signal to one of the processes, and then resumed."""
    processes = start_two_processes(tmp_path, pause=0.05)
    processes[0].wait_for_step(6)
    processes[1].terminate()
    writer, other = finish(processes)
    assert "the same command resumes from there" in writer and "the same command" not in other
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) < STEPS
    writer, other = finish(start_two_processes(tmp_path))
    assert (
        "4 x cpu in 2 processes" in writer
        and f"to {STEPS}" in writer
        and f"to {STEPS}" not in other
    )
    assert_same_losses(tmp_path, uninterrupted_run())
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2  # one for each start


def test_an_incomplete_address_is_reported_in_one_line():
    with pytest.raises(UserError, match="--num_processes and --process_id go together") as error:
        distributed.join(coordinator_address="127.0.0.1:1")
    assert "\n" not in str(error.value)


def test_a_single_process_does_not_join_and_is_the_writer():
    distributed.join()
    assert distributed.is_writer()


def test_a_missing_cluster_is_reported_in_one_line():
    message = r"cannot join the other processes .*--coordinator_address"
    with pytest.raises(UserError, match=message) as error:
        distributed.join(distributed=True)
    assert "\n" not in str(error.value)


def test_the_writer_goes_first_and_does_not_wait_for_the_others(monkeypatch, tmp_path):
    marker, order = tmp_path / "marker", []
    monkeypatch.setattr(distributed.jax, "process_count", lambda: 2)
    monkeypatch.setattr(distributed.time, "sleep", lambda seconds: writer())

    def writer():
        monkeypatch.setattr(distributed, "is_writer", lambda: True)
        with distributed.writer_first(marker):
            order.append("writer")
        monkeypatch.setattr(distributed, "is_writer", lambda: False)

    monkeypatch.setattr(distributed, "is_writer", lambda: False)
    with distributed.writer_first(marker):
        order.append("other")
    assert order == ["writer", "other"]
