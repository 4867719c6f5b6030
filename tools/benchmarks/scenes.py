"""Times the synthesis of scenes, stage by stage.

  python -m tools.benchmarks.scenes --count 10

Compare processor times, which do not depend on what else the computer does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from dice_jax import errors
from dice_jax.synthetic import contact_problem, contact_solver, deform, postprocess, shading
from dice_jax.synthetic.scene_sampler import SceneSampler

_SOLVING = (
    (contact_problem, "sample_contact_problem"),
    (contact_solver, "solve_contacts"),
    (deform, "shift_to_depth"),
    (deform, "deform_skin"),
)
_RENDERING = ((shading, "shade"), (shading, "draw_depth"), (postprocess, "postprocess"))
_WARM_UP = 4  # scenes


def main(argv: Sequence[str] | None = None) -> None:
    parser = errors.argument_parser(__doc__, prog="python -m tools.benchmarks.scenes")
    add = parser.add_argument
    add("--count", type=int, default=10, help="scenes to time, after compilation (default: 10)")
    add("--views", type=int, default=3, help="images of each scene (default: 3)")
    add("--seed", type=int, default=0, help="seed of the sampler (default: 0)")
    args = parser.parse_args(argv)
    if args.count < 1 or args.views < 1:
        parser.error("--count and --views must be at least 1")

    sampler = SceneSampler(args.seed, views_per_scene=args.views)
    start = time.process_time()
    for index in range(_WARM_UP):
        sampler.scene(index)
    seconds = time.process_time() - start
    print(f"compilation and {_WARM_UP} scenes: {seconds:.1f} s of processor time")

    stages = {name: Stage() for _, name in (*_SOLVING, *_RENDERING)}
    for module, name in (*_SOLVING, *_RENDERING):
        setattr(module, name, stages[name].timed(getattr(module, name)))
    start, start_wall, attempts = time.process_time(), time.perf_counter(), 0
    for index in range(_WARM_UP, _WARM_UP + args.count):
        attempts += sampler.solver.solve(index).attempts
        sampler.scene(index)
    total, wall = time.process_time() - start, time.perf_counter() - start_wall

    # Every scene was solved twice, once to get its number of attempts.
    solving = sum(stages[name].seconds for _, name in _SOLVING) / 2
    images = args.count * args.views
    print(f"{'stage':24} {'calls/scene':>12} {'s/call':>8} {'s/image':>10}")
    for solves, group in ((2, _SOLVING), (1, _RENDERING)):
        for _, name in group:
            stage = stages[name]
            rate, each = stage.calls / args.count / solves, stage.seconds / max(stage.calls, 1)
            print(f"{name:24} {rate:12.2f} {each:8.3f} {stage.seconds / solves / images:10.3f}")
    print(f"attempts per scene {attempts / args.count:.2f}")
    print(f"processor seconds per image {(total - solving) / images:.3f}; wall {wall / images:.3f}")


class Stage:
    """Counts the calls of a function and adds up their processor time in seconds."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, counted here."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = jax.block_until_ready(function(*args, **kwargs))
            self.seconds += time.process_time() - start
            self.calls += 1
            return result

        return timed


if __name__ == "__main__":
    errors.run(main)
