"""The cascade: stage 0 makes a picture from latents, every later stage enlarges it. Checked once, when it is built."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from installation.errors import ModelError
from installation.models import tiles
from installation.models.device import Placement, choose
from installation.models.graph import GraphedCall
from installation.models.network import Generator, Network, Upscaler
from installation.models.plan import MAX_SIDE, fixed_side_error


class Cascade:
    """A generator and its upscalers on one device. Runs on the engine's thread; makes no host synchronisation, but for networks `on_host`.

    tile: side of a tile's core in a stage's input pixels; None for whole frames. device, dtype: see `device.choose`. graph: record the
    whole cascade as a CUDA graph at the first call of `cascade(ws)` (no effect elsewhere); its output is overwritten by the next call.
    The networks are moved to the device. ModelError says which stage does not fit.
    """

    def __init__(
        self,
        generator: Network,
        stages: Sequence[Network] = (),
        *,
        tile: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        graph: bool = True,
    ) -> None:
        self.generator, self.stages, self._sizes = check_chain(generator, stages, tile)
        self.tile = tile
        self.placement: Placement = choose(device, dtype)
        if self.placement.device.type == "cuda":
            # Shapes are fixed, so trying the algorithms pays; but not for whoever wants the same ones in every process.
            torch.backends.cudnn.benchmark = not torch.backends.cudnn.deterministic
        for network in (self.generator, *self.stages):
            network.requires_grad_(False).eval().place(self.placement.device, self.placement.dtype)
        self._graph = graph and not any(network.on_host for network in (self.generator, *self.stages))
        self._graphed: GraphedCall | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the finished picture, px."""
        height, width = self._sizes[-1]
        return width, height

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height after each stage, from the generator's on."""
        return [(width, height) for height, width in self._sizes]

    @torch.inference_mode()
    def mapping(self, z: Tensor) -> Tensor:
        """z [N, z_dim] float32, on any device -> ws [N, num_ws, w_dim] on the cascade's device, before truncation."""
        return self.generator.mapping(z.to(self.placement.device, torch.float32, non_blocking=True))

    @torch.inference_mode()
    def truncate(self, ws: Tensor, psi: Tensor | float) -> Tensor:
        """ws pulled towards the centre by psi, on the cascade's device. A tensor psi is not waited for."""
        if isinstance(psi, Tensor):
            psi = psi.to(self.placement.device, non_blocking=True)
        return self.generator.truncate(ws.to(self.placement.device, non_blocking=True), psi)

    @torch.inference_mode()
    def __call__(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        """ws [N, num_ws, w_dim] float32 -> img [N, 3, height, width] float32, about -1..1, contiguous, on the cascade's device.

        transform: [3, 3] for a generator that takes one; None is the identity. Once one was given, every call must give one.
        """
        ws = ws.to(self.placement.device, torch.float32, non_blocking=True)
        run, x = self._run, ws
        if transform is not None:
            # One tensor in, because that is what a recorded call takes.
            plane = transform.to(self.placement.device, torch.float32, non_blocking=True).expand(len(ws), 3, 3)
            run, x = self._run_moved, torch.cat([ws.flatten(1), plane.flatten(1)], dim=1)
        if self._graphed is None and self._graph:
            self._graphed = GraphedCall(run, x)
        return (self._graphed or run)(x)

    @torch.inference_mode()
    def enlarge(self, img: Tensor, ws: Tensor | None = None) -> Tensor:
        """img [N, 3, h, w] of the generator's size -> the finished picture: all stages but the first.

        ws [N, num_ws, w_dim]: what img was made from, for stages that are conditioned on w; None gives them the neutral style.
        """
        device = self.placement.device
        ws = None if ws is None else ws.to(device, torch.float32, non_blocking=True)
        return self._enlarge(img.to(device, torch.float32, non_blocking=True), ws)

    def _run(self, ws: Tensor) -> Tensor:
        return self._enlarge(self.generator.synthesis(ws), ws)

    def _run_moved(self, x: Tensor) -> Tensor:
        ws, plane = x[:, :-9].view(len(x), self.generator.num_ws, -1), x[:, -9:].view(-1, 3, 3)
        return self._enlarge(self.generator.synthesis(ws, plane), ws)

    def _enlarge(self, img: Tensor, ws: Tensor | None) -> Tensor:
        w = None if ws is None else self.generator.stage_w(ws)
        for stage in self.stages:
            img = tiles.enlarge(stage, img, self.tile, w)
        return img.contiguous()


def check_chain(
    generator: Network, stages: Sequence[Network], tile: int | None
) -> tuple[Generator, tuple[Upscaler, ...], list[tuple[int, int]]]:
    """The networks with their contracts known, and (height, width) after each. ModelError names the stage that does not fit."""
    if not isinstance(generator, Generator):
        raise ModelError(
            "it enlarges pictures and cannot make one", where=_name(0, generator), fix="Put a generator first"
        )
    if tile is not None and tile < 8:
        raise ModelError(f"a tile of {tile} px is too small", where="tile", fix="Use at least 8, or leave it out")
    sizes = [generator.shape]
    checked: list[Upscaler] = []
    for number, stage in enumerate(stages, start=1):
        where, (height, width) = _name(number, stage), sizes[-1]
        if not isinstance(stage, Upscaler):
            raise ModelError(
                "it makes pictures and cannot enlarge one", where=where, fix="Only the first stage may be a generator"
            )
        if stage.w_dim not in (0, generator.stage_w_dim):
            raise ModelError(
                f"it is conditioned on a w of {stage.w_dim}, and the generator gives one of {generator.stage_w_dim}",
                where=where,
                fix="Use the stage with the generator it was trained after",
            )
        if stage.fixed_side and (height, width) != (stage.fixed_side, stage.fixed_side):
            raise fixed_side_error("it", stage.fixed_side, (width, height), where=where)
        if height % stage.input_multiple or width % stage.input_multiple:
            raise ModelError(
                f"it takes sides that are multiples of {stage.input_multiple}, and gets {width}x{height}", where=where
            )
        if min(height, width) < stage.min_input:
            raise ModelError(f"it takes pictures from {stage.min_input} px on, and gets {width}x{height}", where=where)
        if tiles.needed(stage, (height, width), tile) is not None and stage.receptive_field is None:
            what = "it cannot be tiled: one pixel may depend on the whole picture"
            raise ModelError(what, where=where, fix="Leave out the tile size")
        sizes.append((height * stage.scale, width * stage.scale))
        if max(sizes[-1]) > MAX_SIDE:
            raise ModelError(
                f"it would give {sizes[-1][1]}x{sizes[-1][0]}, more than {MAX_SIDE} px a side", where=where
            )
        checked.append(stage)
    return generator, tuple(checked), sizes


def _name(number: int, network: Network) -> str:
    scale = f" x{network.scale}" if isinstance(network, Upscaler) else ""
    return f"stage {number} ({network.arch}{scale})"
