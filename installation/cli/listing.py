"""The table of live parameters for people and programs: terminal, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from installation.show.params import Param
from installation.terminal import cell

if TYPE_CHECKING:
    from rich.table import Table


_WIDE = 140


def as_json(table: Iterable[Param]) -> list[dict[str, Any]]:
    """What `installation params --format json` prints: an object a parameter; range [lo, hi] in its unit or null, smoothing in s."""
    return [
        {
            "address": row.address,
            "kind": row.kind,
            "range": [row.lo, row.hi] if row.kind in ("float", "int") else None,
            "choices": list(row.choices),
            "numbers": list(row.numbers),
            "default": None if row.kind == "button" else row.default,
            "unit": row.unit,
            "smoothing_s": row.smoothing_s,
            "curve": row.curve,
            "description": row.description,
        }
        for row in table
    ]


def as_markdown(table: Iterable[Param]) -> str:
    """The page docs/parameters.md."""
    lines = [
        "# Live parameters",
        "",
        "Made from the one table by `installation params --format markdown`.",
        "",
        (
            "Each takes OSC at its address in the units given here, and 0–1 at the same address with `/norm` behind it "
            "(`square`: finer near the low end; `cubic`: finer about the middle, which 0.5 is), buttons aside. "
            "No argument asks: the value comes back at the same address. A second number is the ramp time in seconds, "
            "0 to 3600, instead of the smoothing. A button fires on a press (no argument, true, or a number above 0)."
        ),
        "",
        "| address | kind | range | default | smoothing | what it does |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| `{row.address}` | " + " | ".join(_cells(row)) + " |" for row in table]
    return "\n".join(lines) + "\n"


def as_table(table: Iterable[Param], width: int) -> Table:
    """For a terminal of `width` columns: a line a parameter, or where that would squeeze the words, two."""
    from rich.padding import Padding
    from rich.table import Column, Table

    if width < _WIDE:
        out = Table.grid()
        for row in table:
            kind, span, default, smoothing, text = map(cell, _cells(row))
            facts = [f"{kind} {span}".strip(), default and f"default {default}", smoothing and f"smoothing {smoothing}"]
            out.add_row(f"[bold]{row.address}[/]  {'; '.join(filter(None, facts))}")
            out.add_row(Padding(text, (0, 0, 0, 4)))
        return out
    out = Table(Column("address", no_wrap=True), "kind", "range", "default", "smoothing", "what it does")
    for row in table:
        out.add_row(row.address, *map(cell, _cells(row)))
    return out


def _cells(row: Param) -> tuple[str, str, str, str, str]:
    default = "" if row.kind == "button" else str(row.default).lower() if row.kind == "bool" else f"{row.default}"
    span = row.span if row.curve == "lin" else f"{row.span} ({row.curve})"
    return row.kind, span, default, f"{row.smoothing_s:g} s" if row.smoothing_s else "", row.description
