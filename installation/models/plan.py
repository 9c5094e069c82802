"""What a chain of networks makes, told from their headers alone: a show's first check, before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from installation.errors import ModelError
from installation.models.header import Header

MAX_SIDE = 16384  # largest texture side that GL promises on the hardware shows run on


def picture_size(base: Header, stages: Sequence[Header], *, key: str = "cascade") -> tuple[int, int]:
    """(width, height) of the finished picture, px. ModelError names the network that cannot stand where it does.

    key: of these networks in the show.
    """
    if base.role != "generator" or not base.size:
        raise ModelError(
            f"{base.name} enlarges pictures and cannot make one", where=f"{key}.base", fix="Name a generator"
        )
    height, width = base.shape
    for number, header in enumerate(stages):
        where = f"{key}.stages[{number}]"
        if header.role != "upscaler":
            fix = f"Only {key}.base may be a generator"
            raise ModelError(f"{header.name} makes pictures and cannot enlarge one", where=where, fix=fix)
        if header.w_dim not in (0, w_dim := base.w_dim or base.z_dim):
            what = f"{header.name} is conditioned on a w of {header.w_dim}, and {base.name} gives one of {w_dim}"
            raise ModelError(what, where=where, fix="Use the stage with the generator it was trained after")
        if header.fixed_side and (height, width) != (header.fixed_side, header.fixed_side):
            raise fixed_side_error(header.name, header.fixed_side, (width, height), where=where)
        height, width = height * header.scale, width * header.scale
        if max(height, width) > MAX_SIDE:
            fix = "Leave out a stage"
            raise ModelError(f"it would give {width}x{height}, more than {MAX_SIDE} px a side", where=where, fix=fix)
    return width, height


def fixed_side_error(name: str, side: int, size: tuple[int, int], *, where: str) -> ModelError:
    """What to raise where a stage that takes one size alone gets another. size: (width, height) of what it gets."""
    fix = f"Put a generator and stages before it that make {side}x{side}"
    return ModelError(
        f"{name} takes pictures of {side}x{side} alone, and gets {size[0]}x{size[1]}", where=where, fix=fix
    )


def wall_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(width, height) of the pictures of a show whose models make these sizes: the largest of the first one's aspect.

    What is smaller is enlarged to it, and what has another aspect lies within it.
    """
    width, height = sizes[0]
    return max(size for size in sizes if size[0] * height == size[1] * width)
