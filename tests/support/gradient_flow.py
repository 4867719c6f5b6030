"""Which weights get a gradient, and which ones the outputs depend on, without computing anything.

Both are read off the traced program, so that full-size networks take seconds. A gradient that is
zero because nothing leads from the weight to the loss is a constant of the program.
"""

import functools
import operator

import jax
import numpy as np
from flax import traverse_util

from dice_jax import models
from dice_jax.losses.total import generator_loss


def untrained(setup, bodies, batch) -> set[str]:
    """Names of the weights whose gradient is zero whatever the data is."""
    variables = _shapes(setup, bodies, batch)

    def gradient(params):
        return traverse_util.flatten_dict(
            jax.grad(_loss)(params, variables, setup, bodies, batch), sep="/"
        )

    program = jax.make_jaxpr(gradient)(variables["params"])
    names = sorted(traverse_util.flatten_dict(variables["params"], sep="/"))
    sources = _sources(program.jaxpr, [1] * len(program.jaxpr.invars))
    assert len(names) == len(sources)
    return {name for name, found in zip(names, sources) if not found}


def used_by_outputs(setup, bodies, batch) -> set[str]:
    """Names of the weights that a prediction, gated as `infer` gates it, depends on."""
    variables = _shapes(setup, bodies, batch)

    def answer(flat):
        params = traverse_util.unflatten_dict(flat, sep="/")
        images = models.preprocess(batch.images)
        output = setup.network.apply(
            {**variables, "params": params},
            images,
            bodies.queries,
            batch.detections,
            batch.intrinsics,
            train=False,
        )
        return models.decode(
            output,
            bodies.hand,
            bodies.head,
            gate_by_presence=True,
            gate_contact=setup.network.config.gate_contact,
        )

    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    program = jax.make_jaxpr(answer)(flat)
    names = sorted(flat)
    sources = _sources(program.jaxpr, [1 << i for i in range(len(names))])
    return {name for i, name in enumerate(names) if any(found >> i & 1 for found in sources)}


def _shapes(setup, bodies, batch):
    images = jax.ShapeDtypeStruct(batch.images.shape, np.float32)
    inputs = bodies.queries, batch.detections, batch.intrinsics
    init = lambda key, images: setup.network.init(key, images, *inputs, train=False)
    shapes = jax.eval_shape(init, jax.random.PRNGKey(0), images)
    # Values do not matter. Memory that is never touched costs nothing.
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def _loss(params, variables, setup, bodies, batch):
    key = jax.random.PRNGKey(0)
    output, _ = setup.network.clone(axis_name=None).apply(
        {**variables, "params": params},
        models.preprocess(batch.images),
        bodies.queries,
        batch.detections,
        batch.intrinsics,
        train=True,
        rngs={"mask": key, "dropout": key},
        mutable=["batch_stats"],
    )
    prediction = models.decode(output, bodies.hand, bodies.head, gate_by_presence=False)
    discriminators = (
        (setup.hand_discriminator, output.hand_params),
        (setup.head_discriminator, output.head_params),
    )
    fake_logits = tuple(net.init_with_output(key, fake)[0] for net, fake in discriminators)
    targets = models.pose_targets(batch, bodies.hand, bodies.head)
    return generator_loss(
        output,
        prediction,
        targets,
        batch,
        bodies.hand,
        bodies.head,
        setup.losses,
        fake_logits=fake_logits,
    )[0]


def _sources(jaxpr, inputs):
    """For each output of a program, the union (bits) of the marks of the inputs it depends on."""
    marks = dict(zip(jaxpr.invars, inputs))
    for equation in jaxpr.eqns:
        given = [0 if _is_literal(v) else marks.get(v, 0) for v in equation.invars]
        inner = next(
            (equation.params[k] for k in ("jaxpr", "call_jaxpr") if k in equation.params), None
        )
        inner = getattr(inner, "jaxpr", inner)
        if not any(given):
            found = [0] * len(equation.outvars)
        elif inner is not None and equation.primitive.name not in ("scan", "while"):
            found = _sources(inner, given)
        else:
            found = [functools.reduce(operator.or_, given)] * len(equation.outvars)
        marks.update(zip(equation.outvars, found))
    return [0 if _is_literal(v) else marks.get(v, 0) for v in jaxpr.outvars]


def _is_literal(var):
    return hasattr(var, "val")
