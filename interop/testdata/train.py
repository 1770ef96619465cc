"""A small training run that can stop and go on from a checkpoint."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint.experimental.v1 as ocp


class _MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(32)(x))
        return nn.Dense(4)(x)


_model = _MLP()
_optimizer = optax.adamw(1e-2)


def _batch(step):
    """The batch of a step: the same in every run."""
    r = np.random.default_rng(step)
    x = r.standard_normal((16, 8), np.float32)
    return x, np.tanh(x[:, :4] * 2)


def _init():
    params = _model.init(jax.random.key(0), jnp.zeros((1, 8), jnp.float32))
    return {"params": params, "opt_state": _optimizer.init(params), "step": 0}


@jax.jit
def _update(params, opt_state, x, y):
    loss, grads = jax.value_and_grad(
        lambda p: jnp.mean((_model.apply(p, x) - y) ** 2)
    )(params)
    updates, opt_state = _optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def train(steps, from_path=None, save_path=None, abstract="fresh"):
    """Trains for steps, and returns the losses and the state.

    abstract says what the state is loaded into: "fresh", a newly initialised
    state; "eval_shape", the shapes of one, with the step as it is.
    """
    state = _init()
    if from_path is not None:
        target = state
        if abstract == "eval_shape":
            target = {**jax.eval_shape(lambda: {k: state[k] for k in ("params", "opt_state")}), "step": 0}
        state = ocp.load(from_path, target)
    losses = []
    for _ in range(steps):
        x, y = _batch(state["step"])
        params, opt_state, loss = _update(state["params"], state["opt_state"], x, y)
        state = {"params": params, "opt_state": opt_state, "step": state["step"] + 1}
        losses.append(float(loss))
    if save_path is not None:
        ocp.save(save_path, state)
    return losses, state
