"""OpenVINO IR files (.xml graph, .bin constants), given as bytes: a strict reader of a graph with fixed shapes. Numpy only.

Names in the graph are never paths, and nothing but the two files is read. The graph comes back as plain records; what network it is,
another importer decides. Formats: OpenVINO's documentation, "OpenVINO IR format", versions 10 and 11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np

from installation.errors import CheckpointError

MAX_NODES = 20_000
MAX_DEPTH = 16
MAX_ELEMENTS = 400_000
VERSIONS = ("10", "11")

_DTYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4"}


@dataclass(frozen=True, slots=True)
class Node:
    """One layer. inputs: (id of the node, which of its outputs) by port. shapes: of its outputs. values: a Const's, else None."""

    id: str
    kind: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[tuple[str, int], ...]
    shapes: tuple[tuple[int, ...], ...]
    values: np.ndarray | None = None


@dataclass(slots=True)
class _Layer:
    """A layer while the XML is being read; ports: (id, dims), in file order."""

    attributes: dict[str, str]
    data: dict[str, str] = field(default_factory=dict)
    inputs: list[tuple[str, list[int]]] = field(default_factory=list)
    outputs: list[tuple[str, list[int]]] = field(default_factory=list)


def read_ir(xml: bytes, weights: bytes, *, where: str) -> dict[str, Node]:
    """The nodes by id, in file order. CheckpointError for a damaged or hostile file, or constants outside the .bin or not finite."""
    layers, edges = _parse(xml, where)
    sources: dict[tuple[str, str], tuple[str, int]] = {}
    for edge in edges:
        begin = layers.get(edge.get("from-layer", ""))
        end = layers.get(edge.get("to-layer", ""))
        ports = [port for port, _ in begin.outputs] if begin else []
        if end is None or edge.get("from-port") not in ports:
            raise CheckpointError(f"an edge joins what is not there: {str(edge)[:120]}", where=where)
        sources[edge["to-layer"], edge.get("to-port", "")] = (edge["from-layer"], ports.index(edge["from-port"]))
    nodes: dict[str, Node] = {}
    for key, layer in layers.items():
        name = layer.attributes.get("name", "")[:80]
        missing = [port for port, _ in layer.inputs if (key, port) not in sources]
        if missing:
            raise CheckpointError(f"input {missing[0][:20]!r} of {name} comes from nowhere", where=where)
        kind = layer.attributes.get("type", "")
        nodes[key] = Node(
            id=key,
            kind=kind,
            name=name,
            attributes=layer.data,
            inputs=tuple(sources[key, port] for port, _ in layer.inputs),
            shapes=tuple(tuple(dims) for _, dims in layer.outputs),
            values=_constant(layer, name, weights, where) if kind == "Const" else None,
        )
    return nodes


def _constant(layer: _Layer, name: str, weights: bytes, where: str) -> np.ndarray:
    data = layer.data
    dtype = _DTYPES.get(data.get("element_type", ""))
    if dtype is None:
        what = f"constant {name} is of type {data.get('element_type', '')[:20]!r}"
        raise CheckpointError(what, where=where, fix=f"Only {', '.join(_DTYPES)} can be read: export it uncompressed")
    shape = [_whole(side, f"the shape of {name}", where) for side in data.get("shape", "").split(",") if side.strip()]
    offset, size = (_whole(data.get(part, ""), f"the {part} of {name}", where) for part in ("offset", "size"))
    if math.prod(shape) * np.dtype(dtype).itemsize != size or offset + size > len(weights):
        raise CheckpointError(f"constant {name} does not fit its shape, or lies outside the .bin", where=where)
    values = np.frombuffer(weights, dtype, math.prod(shape), offset).reshape(shape)
    if not np.isfinite(values).all():
        raise CheckpointError(f"constant {name} holds NaN or infinity", where=where)
    return values


def _parse(xml: bytes, where: str) -> tuple[dict[str, _Layer], list[dict[str, str]]]:
    """Layers by id and edges. A document type is refused before anything in it is read: entities are declared there."""
    layers: dict[str, _Layer] = {}
    edges: list[dict[str, str]] = []
    path: list[str] = []
    elements = 0
    layer: _Layer | None = None
    text = ""

    def doctype(*_: object) -> None:
        raise CheckpointError("the XML declares a document type, which no IR has", where=where)

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal elements, layer, text
        elements += 1
        path.append(tag)
        if len(path) > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise CheckpointError("the XML is nested too deeply or has too many elements", where=where)
        text = ""
        match path:
            case ["net"]:
                if attributes.get("version") not in VERSIONS:
                    what = f"IR version {attributes.get('version', '')[:20]!r}, this program reads 10 and 11"
                    raise CheckpointError(what, where=where)
            case ["net", "layers", "layer"]:
                key = attributes.get("id", "")
                if key in layers or len(layers) >= MAX_NODES:
                    raise CheckpointError(f"layer {key[:20]!r} is there twice, or there are too many", where=where)
                layer = layers[key] = _Layer(attributes)
            case ["net", "layers", "layer", "data"] if layer:
                layer.data = attributes
            case ["net", "layers", "layer", "input" | "output" as side, "port"] if layer:
                (layer.inputs if side == "input" else layer.outputs).append((attributes.get("id", ""), []))
            case ["net", "edges", "edge"]:
                edges.append(attributes)
            case _:
                if path[0] != "net":
                    raise CheckpointError(f"an XML of {tag[:40]!r}, not an OpenVINO IR", where=where)

    def end(tag: str) -> None:
        if layer and path[:3] == ["net", "layers", "layer"] and path[4:] == ["port", "dim"]:
            ports = {"input": layer.inputs, "output": layer.outputs}.get(path[3])
            if ports:
                ports[-1][1].append(_whole(text, "a size", where))
        path.pop()

    def characters(data: str) -> None:
        nonlocal text
        text = (text + data)[:64]

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, characters
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise CheckpointError(f"not well-formed XML ({error})", where=where) from None
    return layers, edges


def _whole(text: str, what: str, where: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise CheckpointError(f"{what} is {text[:40]!r}, not a whole number", where=where)
    return int(text)
