"""Trainings of the micro run in processes of their own.

The processes are forked from one that has already imported everything, which saves most of their
time. `uninterrupted_run` starts a real command line instead.
"""

import functools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.fast_compile import xla_flags

SCRIPT = Path(__file__).with_name("micro_run.py")
STEPS = 24
TIMEOUT = 600  # seconds


class TrainProcess:
    """`train.main` on the micro run in a process of its own.

    Attributes:
        workdir: folder of the run.
        exit_code, stdout, stderr: known after `wait`.
    """

    def __init__(self, workdir, *flags, devices=1, pause=0.0, max_file_bytes=None):
        """Starts the process.

        Args:
            workdir: folder of the run.
            flags: of the command line, besides --config and --workdir.
            devices: number of virtual CPU devices.
            pause: seconds that reading a sample takes.
            max_file_bytes: writing beyond this size fails, as on a full disk.
        """
        self.workdir = Path(workdir)
        self._outputs = [tempfile.mkstemp(prefix=name)[1] for name in ("stdout", "stderr")]
        argv = [f"--config={SCRIPT}", f"--workdir={workdir}", *flags]
        context = _fork_server()
        self._process = context.Process(
            target=_child, args=(argv, devices, pause, max_file_bytes, _cache(), self._outputs)
        )
        self._process.start()

    def wait_for_step(self, step):
        """Waits until the metrics of `step` have been written."""
        limit = time.monotonic() + TIMEOUT
        while not (written := metrics(self.workdir)) or written[-1]["step"] < step:
            if not self._process.is_alive() or time.monotonic() > limit:
                self.kill()
                raise AssertionError(f"ended before step {step}: {self.wait().stderr[-2000:]}")
            time.sleep(0.02)

    def kill(self):
        """Sends SIGKILL and waits."""
        self._process.kill()
        self._process.join(10)

    def terminate(self):
        """Sends SIGTERM."""
        self._process.terminate()

    def wait(self):
        """Waits for the end, and returns the process."""
        self._process.join(TIMEOUT)
        self._process.kill()
        self.exit_code = self._process.exitcode
        self.stdout, self.stderr = (Path(path).read_text() for path in self._outputs)
        for path in self._outputs:
            Path(path).unlink()
        return self

    def succeed(self):
        """Waits for the end, which has to be a success, and returns the process."""
        self.wait()
        assert self.exit_code == 0, self.stderr[-3000:]
        return self

    def error_line(self):
        """Waits for the end, which has to be an error in one line, and returns that line."""
        self.wait()
        assert self.exit_code == 2 and "Traceback" not in self.stderr, self.stderr[-3000:]
        last = self.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        return last


def metrics(workdir):
    """The lines of metrics.jsonl, without the speed."""
    path = Path(workdir) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for line in lines:
        del line["images_per_second"]
    return lines


@functools.cache
def uninterrupted_run() -> Path:
    """The workdir of a whole run of `STEPS` updates on one device, started from a shell."""
    workdir = tempfile.mkdtemp(prefix="uninterrupted")
    environment = {
        **os.environ,
        "XLA_FLAGS": xla_flags(devices=1),
        "JAX_COMPILATION_CACHE_DIR": _cache(),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, str(SCRIPT), f"--config={SCRIPT}", f"--workdir={workdir}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(workdir)


@functools.cache
def _cache() -> str:
    """A folder of compiled programs for all runs."""
    return os.environ.get("JAX_COMPILATION_CACHE_DIR") or tempfile.mkdtemp(prefix="compiled")


@functools.cache
def _fork_server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.micro_run"])
    # The server does not get `sys.path`, only the environment.
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[2]), str(SCRIPT.parents[1])])
    try:
        context.Process(target=int).start()  # starts the server
    finally:
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path
    return context


def _child(argv, devices, pause, max_file_bytes, cache, outputs):
    """The body of the process: `python tests/support/micro_run.py` with `argv`."""
    sys.argv = [str(SCRIPT), *argv]  # where the flags of configurations are looked up
    for path, descriptor in zip(outputs, (1, 2)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    os.environ["XLA_FLAGS"] = xla_flags(devices)
    os.environ["MICRO_RUN_PAUSE"] = str(pause)

    import jax

    from dice_jax import errors
    from support import micro_run

    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    errors.run(micro_run.main, absl_flags=True)
