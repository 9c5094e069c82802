"""What each live parameter does to ws: against the plain algebra, on real (tiny) networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.latent.sphere import seed_z, to_sphere
from installation.models import axes, random_weights
from installation.models.network import Generator
from installation.models.transform import transform
from installation.render.latent import Latents
from installation.render.renderer import Renderer
from installation.show.clock import FrameClock
from installation.show.config import Show
from installation.show.glide import still
from installation.show.messages import ControlMessage
from installation.show.reading import parse
from installation.show.state import ShowState, first_state
from installation.show.step import step
from tests.render.pictures import frame_of

CPU = torch.device("cpu")
SPACES = pytest.mark.parametrize("space", ["z", "w"])


def make_show(**tables) -> Show:
    tree = {"cascade": {"base": "x", "threads": 1}, "params": {"latent": {"psi": 1.0}}, **tables}
    return parse(tree, where="test", folder=Path("."))


def faders(show: Show, **values: float) -> ShowState:
    """The first state with faders at rest elsewhere; `style__mix` for style/mix."""
    state = first_state(show)
    named = {name.replace("__", "/"): still(value) for name, value in values.items()}
    return replace(state, glides={**state.glides, **named})


def mapped(network: Generator, seed: int, c: int | None = None) -> Tensor:
    z = torch.tensor(to_sphere(seed_z(seed, network.z_dim))[None], dtype=torch.float32)
    if c is None:
        return network.mapping(z)
    return network.mapping(z, torch.nn.functional.one_hot(torch.tensor([c]), network.c_dim).float())


@SPACES
def test_the_second_portrait_takes_its_layers_and_no_others(space):
    network = random_weights.stylegan2(1)
    show = make_show(walk={"space": space}, params={"latent": {"psi": 1.0}, "style": {"seed": 5}})
    ws = Latents(show, network, CPU).ws(faders(show, style__mix=0.75, style__first=2.0, style__last=3.5))
    here, there = mapped(network, 0)[0], mapped(network, 5)[0]
    share = torch.tensor([0, 0, 0.75, 0.75, 0.375, 0, 0, 0])[:, None]
    torch.testing.assert_close(ws[0], here + share * (there - here), atol=1e-5, rtol=1e-5)


@SPACES
def test_cutoff_keeps_fine_layers_whole(space):
    network = random_weights.stylegan2(1)
    show = make_show(walk={"space": space})
    ws = Latents(show, network, CPU).ws(faders(show, latent__psi=0.5, latent__cutoff=3.0))
    whole = mapped(network, 0)
    wanted = torch.cat([network.truncate(whole, 0.5)[:, :3], whole[:, 3:]], dim=1)
    torch.testing.assert_close(ws, wanted, atol=1e-5, rtol=1e-5)


@SPACES
def test_classes_melt_in_w(space):
    network = random_weights.stylegan2(1, c_dim=4)
    show = make_show(walk={"space": space}, classes={"cat": 1, "dog": 3}, params={"latent": {"psi": 1.0}})
    clock, latents = FrameClock(1), Latents(show, network, CPU)
    state = step(first_state(show), (), clock.tick(), show)
    torch.testing.assert_close(latents.ws(state), mapped(network, 0, 1), atol=1e-5, rtol=1e-5)
    state = step(
        state,
        [ControlMessage("drift/pause", True, 0.0), ControlMessage("class/select", "dog", 2.0)],
        clock.tick(),
        show,
    )
    fixed = state.strands[-1].position
    state = replace(state, strands=(replace(state.strands[-1], position=0.0),))
    halfway = step(state, (), replace(clock.tick(), t=state.t + 1.0), show)
    wanted = 0.5 * (mapped(network, 0, 1) + mapped(network, 0, 3))
    torch.testing.assert_close(latents.ws(halfway), wanted, atol=1e-5, rtol=1e-5)
    there = step(state, (), replace(clock.tick(), t=state.t + 9.0), show)
    torch.testing.assert_close(latents.ws(there), mapped(network, 0, 3), atol=1e-5, rtol=1e-5)
    assert fixed >= 0.0


def test_a_class_beyond_the_last_is_the_last_and_a_named_one_a_fault():
    network = random_weights.stylegan2(1, c_dim=4)
    show = make_show(params={"latent": {"psi": 1.0}, "class": {"select": 77}})
    torch.testing.assert_close(Latents(show, network, CPU).ws(first_state(show)), mapped(network, 0, 3))
    with pytest.raises(ModelError, match=r"classes\.cat: is class 9, but the network's classes are 0 to 3"):
        Latents(make_show(classes={"cat": 9}), network, CPU)


AXES = [
    {"name": "smile", "index": 1, "layers": [2, 4]},
    {"name": "light", "source": "sefa", "index": 0, "layers": [1, 2]},
]


@pytest.mark.parametrize("psi", [1.0, 0.3])
def test_an_axis_moves_its_layers_by_standard_deviations_whatever_psi_is(psi):
    network = random_weights.stylegan2(1)
    show = make_show(axes=AXES)
    latents = Latents(show, network, CPU)
    rest = latents.ws(faders(show, latent__psi=psi))
    moved = latents.ws(faders(show, latent__psi=psi, axis__smile=2.0)) - rest
    spread = axes.measure(network)
    torch.testing.assert_close(
        moved[0, 2:5], (2 * spread.sigma[1] * spread.axes[1]).expand(3, 16), atol=1e-4, rtol=1e-3
    )
    assert not moved[0, [0, 1, 5, 6, 7]].any()
    light = (latents.ws(faders(show, latent__psi=psi, axis__light=-1.0)) - rest)[0]
    direction = axes.sefa(network, (1, 2))[0]
    torch.testing.assert_close(light[1], -axes.along(spread, direction), atol=1e-4, rtol=1e-3)
    both = latents.ws(faders(show, latent__psi=psi, axis__smile=2.0, axis__light=-1.0)) - rest
    torch.testing.assert_close(both[0], moved[0] + light, atol=1e-5, rtol=1e-5)


def test_an_axis_glides_and_neighbouring_pictures_are_neighbours():
    show = make_show(axes=AXES, params={"drift": {"speed": 0.0}})
    renderer = Renderer(show, random_weights.stylegan2(1), ())
    clock, state, frames = FrameClock(60), first_state(show), []
    for i in range(90):
        said = [ControlMessage("axis/smile", 3.0)] if i == 5 else []
        state = step(state, said, clock.tick(), show)
        frames.append(frame_of(renderer, state)[..., :3].astype(int))
    assert np.array_equal(frames[0], frames[5])
    assert np.abs(frames[-1] - frames[0]).mean() > 3
    assert np.abs(np.diff(np.array(frames), axis=0)).mean(axis=(1, 2, 3)).max() < 3


WRONG = [
    ({"name": "a", "index": 40}, r"axes\.a: index 40 is beyond the network's last axis, 15"),
    ({"name": "a", "index": 0, "layers": [12, 14]}, r"axes\.a: layer 12 is beyond the network's last, 7"),
]


@pytest.mark.parametrize(("axis", "words"), WRONG)
def test_axes_that_the_network_has_not_are_faults_before_the_first_picture(axis, words):
    with pytest.raises(ModelError, match=words):
        Renderer(make_show(axes=[axis]), random_weights.stylegan2(1), ())


def test_a_network_without_w_refuses_the_axes_of_the_show():
    with pytest.raises(ModelError, match=r"axes\.smile: the network of cascade has no w"):
        Renderer(make_show(axes=AXES), random_weights.dcgan(1), ())


def test_the_mix_leaves_a_network_without_w_alone():
    network = random_weights.dcgan(1)
    show = make_show()
    latents = Latents(show, network, CPU)
    assert torch.equal(latents.ws(faders(show, style__mix=1.0, style__first=0.0)), latents.ws(first_state(show)))


class Movable(Generator):
    """A plane with a gradient: its picture tells where on the plane it lies."""

    arch = "stylegan2"
    has_transform = True

    def __init__(self) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.num_ws, self.shape, self.config = 8, 0, 1, (16, 16), {}

    def mapping(self, z: Tensor) -> Tensor:
        return z[:, None]

    def synthesis(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        plane = torch.eye(3) if transform is None else transform.reshape(-1, 3, 3)[0]
        along = (torch.arange(16) + 0.5) / 16 - 0.5
        grid = torch.stack([along.expand(16, 16), along[:, None].expand(16, 16), torch.ones(16, 16)], dim=-1)
        return (grid @ plane.T).permute(2, 0, 1)[None] + 0 * ws.sum()

    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        return ws * psi


def test_the_plane_moves_under_faders():
    show = make_show()
    renderer = Renderer(show, Movable(), ())
    rest = renderer.img(first_state(show)).clone()
    right = renderer.img(faders(show, transform__x=0.25))
    torch.testing.assert_close(right[0, 0, :, 4:], rest[0, 0, :, :-4])
    turned = renderer.img(faders(show, transform__turn=0.25))
    torch.testing.assert_close(turned[0, 0], rest[0, 0].rot90(-1), atol=1e-5, rtol=0)


def test_a_stylegan3_moves_and_turns_under_faders():
    network = random_weights.stylegan3(2)
    show = make_show()
    renderer = Renderer(show, network, ())
    state = faders(show, transform__x=0.1, transform__y=-0.2, transform__turn=0.125)
    wanted = network.synthesis(mapped(network, 0), transform(0.1, -0.2, 0.125))
    torch.testing.assert_close(renderer.img(state), wanted, atol=1e-4, rtol=1e-4)
    assert (renderer.img(state) - renderer.img(first_state(show))).abs().mean() > 1e-3


def test_classes_fade_in_a_network_that_carries_them_behind_z():
    network = random_weights.r3gan(2, c_dim=3, embedding=4)
    show = make_show(params={"latent": {"psi": 1.0}, "class": {"select": 1}, "drift": {"pause": True}})
    clock, latents = FrameClock(1), Latents(show, network, CPU)
    state = step(first_state(show), [ControlMessage("class/select", 2, 2.0)], clock.tick(), show)
    halfway = step(state, (), clock.tick(), show)
    wanted = 0.5 * (mapped(network, 0, 1) + mapped(network, 0, 2))
    torch.testing.assert_close(latents.ws(halfway), wanted, atol=1e-5, rtol=1e-5)
