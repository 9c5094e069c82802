"""From a state to pixels: the same picture every time, in z and in w, with real (tiny) networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from installation.errors import ModelError
from installation.models import random_weights
from installation.render.renderer import Renderer
from installation.show.clock import FrameClock, Tick
from installation.show.config import Show
from installation.show.glide import still
from installation.show.messages import ControlMessage
from installation.show.reading import parse
from installation.show.state import ShowState, Strand, first_state
from installation.show.step import step
from tests.render.pictures import frame_of


def make_show(folder: Path = Path("."), **tables) -> Show:
    return parse({"cascade": {"base": "x", "threads": 1}, **tables}, where="test", folder=folder)


def draw(show: Show, state: ShowState, network=None, stages=()) -> np.ndarray:
    return frame_of(Renderer(show, network or random_weights.stylegan2(1), stages), state)


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("mode", ["wander", "loop"])
def test_the_same_state_gives_the_same_picture(space, mode):
    show = make_show(walk={"space": space}, params={"walk": {"mode": mode}, "drift": {"speed": 0.7}})
    state = step(first_state(show), (), Tick(1, 3.3, 3.3), show)
    first, second = draw(show, state), draw(show, state)
    assert np.array_equal(first, second)
    assert first[..., :3].std() > 5
    assert (first[..., 3] == 255).all()


@pytest.mark.parametrize("space", ["z", "w"])
def test_keyframe_zero_is_the_portrait_of_the_seed(space):
    """In either space, and whatever else the walk does: the network's own picture of that seed's z."""
    import torch

    from installation.latent.sphere import seed_z, to_sphere

    network = random_weights.stylegan2(1)
    show = make_show(walk={"space": space}, params={"walk": {"seed": 77}, "latent": {"psi": 0.6}})
    frame = draw(show, first_state(show), network)
    z = torch.tensor(to_sphere(seed_z(77, 16))[None], dtype=torch.float32)
    img = network.synthesis(network.truncate(network.mapping(z), 0.6))
    wanted = np.clip(np.rint(img[0].numpy() * 127.5 + 127.5), 0, 255).transpose(1, 2, 0)
    assert np.abs(frame[..., :3] - wanted).max() <= 1


@pytest.mark.parametrize("space", ["z", "w"])
def test_the_loop_closes_in_pixels(space):
    show = make_show(
        walk={"space": space, "loop_keyframes": 4}, params={"walk": {"mode": "loop"}, "drift": {"speed": 0.5}}
    )
    clock, state, states = FrameClock(30), first_state(show), []
    for _ in range(241):
        state = step(state, (), clock.tick(), show)
        states.append(state)
    renderer = Renderer(show, random_weights.stylegan2(1), ())
    assert np.array_equal(frame_of(renderer, states[0]), frame_of(renderer, states[240]))


@pytest.mark.parametrize("space", ["z", "w"])
def test_neighbouring_frames_are_neighbours_also_across_a_jump(space):
    show = make_show(walk={"space": space}, params={"drift": {"speed": 0.5}})
    clock, state, frames = FrameClock(60), first_state(show), []
    renderer = Renderer(show, random_weights.stylegan2(1), ())
    for i in range(180):
        said = [ControlMessage("walk/seed", 9, 1.0)] if i == 60 else []
        state = step(state, said, clock.tick(), show)
        frames.append(frame_of(renderer, state)[..., :3].astype(int))
    moved = np.abs(np.diff(np.array(frames), axis=0)).mean(axis=(1, 2, 3))
    assert moved.max() < 6


def test_psi_zero_shows_one_face_for_every_seed():
    faces = []
    for seed in (1, 2):
        show = make_show(params={"walk": {"seed": seed}, "latent": {"psi": 0.0}})
        faces.append(draw(show, first_state(show)))
    assert np.array_equal(*faces)


def test_a_cascade_climbs(tmp_path):
    show = make_show()
    stages = [random_weights.srvgg(2), random_weights.srvgg(3, scale=4)]
    assert draw(show, first_state(show), stages=stages).shape == (256, 256, 4)


def test_a_network_without_w_cannot_be_walked_in_w():
    with pytest.raises(ModelError, match="has no w to walk in"):
        Renderer(make_show(walk={"space": "w"}), random_weights.dcgan(1), ())


@pytest.mark.parametrize(("space", "shape"), [("z", (7,)), ("z", (2, 16)), ("w", (7,)), ("w", (3, 16))])
def test_a_saved_latent_that_does_not_fit_is_refused_before_the_first_picture(tmp_path, space, shape):
    np.save(tmp_path / "odd.npy", np.ones(shape, np.float32))
    show = make_show(tmp_path, walk={"space": space, "tour": [{"seed": 1}, {"latent": "odd.npy"}]})
    with pytest.raises(ModelError, match=r"walk\.tour\[1\]\.latent: has shape"):
        Renderer(show, random_weights.stylegan2(1), ())


def test_saved_ws_are_stops_of_a_tour(tmp_path):
    network = random_weights.stylegan2(1)
    np.save(tmp_path / "one.npy", np.ones(16, np.float32))
    np.save(tmp_path / "each.npy", np.ones((network.num_ws, 16), np.float32))
    show = make_show(
        tmp_path,
        walk={"space": "w", "tour": [{"latent": "one.npy"}, {"latent": "each.npy"}, {"seed": 3}]},
        params={"walk": {"mode": "tour"}},
    )
    at = [replace(first_state(show), strands=(Strand("tour", 0, float(stop), still(1.0)),)) for stop in range(3)]
    one, each, seed = (draw(show, state, network) for state in at)
    assert np.array_equal(one, each)
    assert not np.array_equal(one, seed)
