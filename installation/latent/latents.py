"""From a state to one z: every strand's mixture of keyframes, and the strands faded over one another on the sphere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from installation.errors import ModelError
from installation.latent.sphere import seed_z, slerp, to_sphere
from installation.latent.walk import Key, blend
from installation.show.config import Show
from installation.show.state import ShowState, Strand


def place(state: ShowState, show: Show, z_dim: int) -> np.ndarray:
    """The z of the state: float64 [z_dim], on the sphere of length sqrt(z_dim)."""
    z = _strand_z(state.strands[0], show, z_dim)
    for strand in state.strands[1:]:
        z = slerp(z, _strand_z(strand, show, z_dim), strand.fade.at(state.t))
    return z


def key_z(key: Key, show: Show, z_dim: int) -> np.ndarray:
    """The z of a keyframe, on the sphere. ModelError where a saved latent does not fit the network."""
    if key.stop is None:
        return _seed_on_sphere(key.seed, z_dim)
    values = np.asarray(show.walk.tour[key.stop].values)
    if values.shape != (1, z_dim):
        raise ModelError(
            f"has shape {list(values.shape)}, but the network's z is [{z_dim}]",
            where=f"walk.tour[{key.stop}].latent",
            fix='A saved w belongs to a walk with space = "w"',
        )
    return to_sphere(values[0])


def _strand_z(strand: Strand, show: Show, z_dim: int) -> np.ndarray:
    mixture = blend(strand, show)
    z = np.zeros(z_dim)
    for key, weight in zip(mixture.keys, mixture.weights, strict=True):
        z += weight * key_z(key, show, z_dim)
    return to_sphere(z)


@lru_cache(maxsize=64)
def _seed_on_sphere(seed: int, z_dim: int) -> np.ndarray:
    z = to_sphere(seed_z(seed, z_dim))
    z.setflags(write=False)
    return z
