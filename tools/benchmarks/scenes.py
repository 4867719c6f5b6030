"""How fast scenes are made, stage by stage, on this machine.

  python -m tools.benchmarks.scenes --count 10

Processor time is the figure to compare: it does not depend on what else the machine does.
"""

from __future__ import annotations

import collections
import time

import jax
from absl import flags

from dice_jax import errors
from dice_jax.synthetic import contact_problem, contact_solver, deform, postprocess, shading
from dice_jax.synthetic.scene_sampler import SceneSampler

_COUNT = flags.DEFINE_integer(
    "count", 10, "Scenes to time, after the programs are compiled.", lower_bound=1
)
_VIEWS = flags.DEFINE_integer("views", 3, "Pictures of each scene.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the sampler.")

_STAGES = (
    (contact_problem, "sample_contact_problem"),
    (contact_solver, "solve_contacts"),
    (deform, "shift_to_depth"),
    (deform, "deform_skin"),
    (shading, "shade"),
    (shading, "draw_depth"),
    (postprocess, "postprocess"),
)


def main(argv) -> None:
    del argv
    sampler = SceneSampler(_SEED.value, views_per_scene=_VIEWS.value)
    begin = time.process_time()
    for index in range(4):
        sampler.scene(index)
    print(f"compiled, and 4 scenes made, in {time.process_time() - begin:.1f} s of processor time")

    seconds, calls = collections.Counter(), collections.Counter()
    for module, name in _STAGES:
        setattr(module, name, _timed(getattr(module, name), name, seconds, calls))
    begin, begin_wall, attempts = time.process_time(), time.perf_counter(), 0
    for index in range(4, 4 + _COUNT.value):
        attempts += sampler.solver.solve(index).attempts
        sampler.scene(index)
    total, wall = time.process_time() - begin, time.perf_counter() - begin_wall
    # Every scene was solved twice, once for its number of attempts.
    solving = sum(seconds[name] for _, name in _STAGES[:4]) / 2
    pictures = _COUNT.value * _VIEWS.value
    print(f"{'stage':22} {'calls/scene':>12} {'s/call':>8} {'s/picture':>10}")
    for _, name in _STAGES:
        share = 2 if name in [stage for _, stage in _STAGES[:4]] else 1
        rate = calls[name] / _COUNT.value / share
        print(
            f"{name:22} {rate:12.2f} {seconds[name] / max(calls[name], 1):8.3f} {seconds[name] / share / pictures:10.3f}"
        )
    print(f"attempts per scene {attempts / _COUNT.value:.2f}")
    print(
        f"processor seconds per picture {(total - solving) / pictures:.3f}; wall {wall / pictures:.3f}"
    )


def _timed(function, name, seconds, calls):
    def timed(*args, **kwargs):
        begin = time.process_time()
        result = jax.block_until_ready(function(*args, **kwargs))
        seconds[name] += time.process_time() - begin
        calls[name] += 1
        return result

    return timed


if __name__ == "__main__":
    errors.run(main)
