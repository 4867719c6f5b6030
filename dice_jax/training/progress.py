"""What a run shows on the screen: one line at the start, then a progress bar."""

from __future__ import annotations

import time
from collections.abc import Mapping

import jax
from jaxtyping import PyTree
from tqdm import tqdm

# Label on the progress bar -> name of the metric.
_SHOWN = {
    "img/s": "images_per_second",
    "loss": "loss",
    "vertices": "loss/vertices",
    "contact": "loss/contact",
    "adversarial": "loss/adversarial",
}


_TIMED = 8  # updates before the expected time is told


class Progress:
    """A progress bar with the time left, the latest losses and the speed."""

    def __init__(self, step: int, total_steps: int, batch_size: int, *, shown: bool = True):
        """Shows the bar.

        Args:
            step: updates done before.
            total_steps: updates at the end of the run.
            batch_size: images per update, for the speed.
            shown: False: print nothing, only measure the speed.
        """
        self._bar = tqdm(
            total=total_steps,
            initial=step,
            desc="compiling",
            unit="step",
            dynamic_ncols=True,
            smoothing=0.05,
            disable=not shown,
        )
        self._shown = shown
        self._left = total_steps - step
        self._times = []
        self._batch_size = batch_size
        self._last = (time.perf_counter(), step)

    def advance(self) -> None:
        """Counts one more update."""
        self._bar.set_description("training", refresh=False)
        self._bar.update()
        if len(self._times) <= _TIMED:
            self._times.append(time.perf_counter())
            if len(self._times) == _TIMED:
                # The first two updates compile.
                seconds = (self._times[-1] - self._times[2]) / (_TIMED - 3)
                self.print_above(expected_time(self._left, seconds))

    def images_per_second(self, step: int) -> float:
        """Speed since the previous call."""
        (then, first), now = self._last, time.perf_counter()
        self._last = (now, step)
        return (step - first) * self._batch_size / max(now - then, 1e-9)

    def show(self, values: Mapping[str, float]) -> None:
        """Puts the most important of the logged `values` beside the bar."""
        shown = {label: f"{values[name]:.4g}" for label, name in _SHOWN.items() if name in values}
        self._bar.set_postfix(shown, refresh=False)

    def print_above(self, line: str) -> None:
        """Prints a line above the bar."""
        if self._shown:
            self._bar.write(line)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()


def expected_time(steps: int, seconds: float) -> str:
    """One line about how long a run of `steps` updates takes at `seconds` for each."""
    return (
        f"{seconds:.2g} s a step: about {steps * seconds / 3600:.3g} hours for {steps} steps, "
        "without validation"
    )


def summary(
    params: PyTree, *, first: int, last: int, batch_size: int, samples: int, seed: int
) -> str:
    """Describes in one line what a run is about to do.

    Args:
        params: the network's weights.
        first: updates done already.
        last: updates at the end of the run.
        batch_size: of the global batch.
        samples: size of the training split.
        seed: of the run.
    """
    devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    if jax.process_count() > 1:
        devices += f" in {jax.process_count()} processes"
    weights = sum(x.size for x in jax.tree.leaves(params)) / 1e6
    steps = f"{last} steps" if first == 0 else f"steps {first} to {last}"
    epochs = last * batch_size / samples
    return (
        f"{devices}, {weights:.1f} M weights, batch {batch_size}, {steps}, "
        f"{samples} samples seen {epochs:.1f} times, seed {seed}"
    )
