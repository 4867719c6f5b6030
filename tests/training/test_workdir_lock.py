"""One run at a time in a workdir: the second is refused, and a dead one does not count."""

import errno
import fcntl
import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest
from support import micro_run

from dice_jax import train
from dice_jax.errors import UserError
from dice_jax.training.workdir_lock import FILE, workdir_lock

HOLD = """
import sys
from dice_jax.training.workdir_lock import workdir_lock
with workdir_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the workdir."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_run_is_refused_with_the_process_and_host_of_the_first(tmp_path, holder):
    message = f"is in use by process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(UserError, match=message), workdir_lock(tmp_path):
        pytest.fail("both hold it")
    with workdir_lock(tmp_path.parent):  # another workdir
        pass


def test_a_training_in_a_workdir_in_use_is_refused_before_it_writes(tmp_path, holder):
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        train.train(micro_run.get_config(), tmp_path, **micro_run.inputs())
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path, holder, end):
    if end == "kill":
        holder.kill()
    else:
        holder.stdin.close()
    holder.wait()
    with workdir_lock(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert (tmp_path / FILE).read_text() == ""


def test_a_lock_of_another_computer_is_respected(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"pid": 5, "host": "elsewhere"}))
    message = r"process 5 on elsewhere.*delete .*\.lock"
    with pytest.raises(UserError, match=message), workdir_lock(tmp_path):
        pytest.fail("taken over")


def test_computers_whose_names_begin_alike_are_two(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node1")
    (tmp_path / FILE).write_text(json.dumps({"pid": 5, "host": "node10"}))
    with pytest.raises(UserError, match="process 5 on node10"), workdir_lock(tmp_path):
        pytest.fail("taken over")
    monkeypatch.setattr(socket, "gethostname", lambda: "node10")
    with workdir_lock(tmp_path):
        pass


def test_without_locks_another_computer_is_respected_and_a_dead_process_of_this_one_is_not(
    tmp_path, monkeypatch
):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / FILE).write_text(json.dumps({"pid": 5, "host": socket.gethostname()}))
    with workdir_lock(tmp_path):
        pass
    (tmp_path / FILE).write_text(json.dumps({"pid": 5, "host": "elsewhere"}))
    with pytest.raises(UserError, match="process 5 on elsewhere"), workdir_lock(tmp_path):
        pytest.fail("taken over")


@pytest.mark.parametrize("content", ["", "x", "[]", '{"pid": "a", "host": 1}'])
def test_a_damaged_lock_names_nobody(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    with workdir_lock(tmp_path):
        pass


@pytest.mark.parametrize("error", ["ValueError('x')", "SystemExit(2)", "SystemExit('bad')"])
def test_a_process_that_failed_ends_whatever_its_threads_wait_for(error):
    code = (
        "import threading, time\nfrom dice_jax.errors import exit_at_once\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        f"with exit_at_once():\n    raise {error}\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env=environment,
        timeout=120,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert finished.returncode in (1, 2)
