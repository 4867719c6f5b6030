"""Where the parts of a data set are made: on the cores of this machine, or by Apache Beam.

A part depends on its number alone and is a file that is written whole or not at all. All engines
therefore make the same bytes, and one continues what another has begun.
"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence

import jax

from dice_jax.detection import runtime
from dice_jax.errors import UserError

Write = Callable[[int], int]  # makes the part of a number, and returns the number
# From `Write` and the numbers of the missing parts to those numbers, each when its part is there.
Engine = Callable[[Write, Sequence[int]], Iterator[int]]
_MAX_PROCESSES = 8


def on_this_machine(write: Write, numbers: Sequence[int]) -> Iterator[int]:
    """One process for each core, at most 8, with one thread each.

    Args:
        write: to be pickled.
        numbers: of the parts.
    """
    workers = min(len(os.sched_getaffinity(0)), len(numbers), _MAX_PROCESSES)
    if workers <= 1:
        yield from map(write, numbers)
        return
    context = multiprocessing.get_context("spawn")  # JAX hangs in a forked process
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=configure_worker
    ) as pool:
        tasks = [pool.submit(write, number) for number in numbers]
        try:
            for task in concurrent.futures.as_completed(tasks):
                yield task.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def through_beam(options: Sequence[str] = ()) -> Engine:
    """Apache Beam, on any of its runners whose workers see the folder of the data sets.

    Args:
        options: of the pipeline, such as ["--runner=FlinkRunner", "--flink_master=HOST:8081"];
            without any, Beam runs in this process.

    Raises:
        UserError: Apache Beam is not installed.
    """
    try:
        import apache_beam as beam  # pyright: ignore[reportMissingImports]
        from apache_beam.options.pipeline_options import (  # pyright: ignore[reportMissingImports]
            PipelineOptions,
        )
    except ImportError as error:
        raise UserError(
            f"Apache Beam cannot be imported ({error}): pip install 'dice_jax[beam]'"
        ) from None

    def run(write: Write, numbers: Sequence[int]) -> Iterator[int]:
        pipeline_options = PipelineOptions(list(options), save_main_session=False)
        with beam.Pipeline(options=pipeline_options) as pipeline:
            # Apart, so that each number may go to another worker.
            parts = pipeline | beam.Create(list(numbers)) | beam.Reshuffle()
            _ = parts | beam.Map(functools.partial(_of_worker, write))
        yield from numbers

    return run


def _of_worker(write: Write, number: int) -> int:
    runtime.use_threads(1)
    return write(number)


def configure_worker() -> None:
    """One CPU thread for each process: they share the cores, and none of them needs the GPU."""
    runtime.use_threads(1)
    jax.config.update("jax_platforms", "cpu")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
