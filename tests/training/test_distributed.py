"""One device, eight devices in one process, and two processes of four: the same training."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import micro_run

from dice_jax.errors import UserError
from dice_jax.training import distributed

SCRIPT = str(Path(micro_run.__file__))
STEPS = 20
FLAGS = (f"--config.total_steps={STEPS}", "--config.log_every=1")


def start(workdir, devices, *flags, pause=0.0):
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "MICRO_RUN_PAUSE": str(pause),
    }
    command = [sys.executable, SCRIPT, f"--config={SCRIPT}", f"--workdir={workdir}", *FLAGS, *flags]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start_two(workdir, *flags, pause=0.0):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    together = (f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2")
    return [
        start(workdir, 4, *together, f"--process_id={i}", *flags, pause=pause) for i in range(2)
    ]


def finish(*processes):
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs):
        assert process.returncode == 0, output[-3000:]
    return outputs


def losses(workdir):
    """All that was logged of the updates, (steps, names), without what the clock decides."""
    lines = [
        json.loads(line) for line in (Path(workdir) / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    names = sorted(set(lines[0]) - {"step", "images_per_second"})
    return names, np.array([[line[name] for name in names] for line in lines])


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    finish(start(workdir, 1))
    return losses(workdir)


def test_eight_devices_train_as_one(one, tmp_path):
    finish(start(tmp_path, 8))
    names, values = losses(tmp_path)
    assert names == one[0]
    np.testing.assert_allclose(values, one[1], rtol=1e-3)


def test_two_processes_train_as_one_and_one_of_them_writes(one, tmp_path):
    """Broken off by a signal to only one of them, and resumed."""
    processes = start_two(tmp_path, pause=0.05)
    limit = time.monotonic() + 500
    while (
        not (tmp_path / "metrics.jsonl").exists()
        or (tmp_path / "metrics.jsonl").read_text().count("\n") < 6
    ):
        assert time.monotonic() < limit and all(process.poll() is None for process in processes), (
            finish(*processes)
        )
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    writer, other = finish(*processes)
    assert "the same command goes on" in writer and "the same command goes on" not in other
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) < STEPS
    writer, other = finish(*start_two(tmp_path))
    assert "8 x cpu in 2 processes" in writer and "steps" in writer and "validation" not in other
    names, values = losses(tmp_path)
    assert names == one[0]
    np.testing.assert_allclose(values, one[1], rtol=1e-3)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2  # one a start


def test_half_an_address_is_one_clear_line():
    with pytest.raises(UserError, match="--num_processes and --process_id go together") as error:
        distributed.join(coordinator_address="127.0.0.1:1")
    assert "\n" not in str(error.value)


def test_alone_nothing_is_joined_and_this_process_writes():
    distributed.join()
    assert distributed.is_writer()


def test_no_cluster_to_ask_is_one_clear_line():
    with pytest.raises(
        UserError, match=r"cannot join the other processes .*--coordinator_address"
    ) as error:
        distributed.join(distributed=True)
    assert "\n" not in str(error.value)


def test_the_writer_goes_first(monkeypatch, tmp_path):
    """The others wait for its marker, and it does not wait for them."""
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
