"""OpenVINO IR files of a small MobileStyleGAN with random weights, laid out as its author's exporter lays them out."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np

ROOT_HALF = 0.5**0.5
PLAIN = {"strides": "1, 1", "pads_begin": "0, 0", "pads_end": "0, 0", "dilations": "1, 1", "auto_pad": "explicit"}
PADDED = PLAIN | {"pads_begin": "1, 1", "pads_end": "1, 1"}
TYPES = {"float32": ("f32", "FP32"), "int64": ("i64", "I64")}

Port = tuple[int, int]  # layer, output


class Graph:
    """Layers one after the other; every method gives the output it made, as (layer, port), and remembers its shape."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.net = ET.Element("net", name=name, version="10")
        self.layers, self.edges = ET.SubElement(self.net, "layers"), ET.SubElement(self.net, "edges")
        self.weights = b""
        self.shape: dict[Port, tuple[int, ...]] = {}
        text = ", ".join(map(str, shape))
        (self.input,) = self.add("Parameter", {"shape": text, "element_type": "f32"}, (), [shape])

    def add(self, kind, data, inputs, shapes, *, opset="opset1", precision="FP32") -> list[Port]:
        key = len(self.layers)
        layer = ET.SubElement(self.layers, "layer", id=str(key), name=f"{kind}_{key}", type=kind, version=opset)
        if data:
            ET.SubElement(layer, "data", data)
        if inputs:
            element = ET.SubElement(layer, "input")
            for port, source in enumerate(inputs):
                self._port(element, port, self.shape[source], "FP32")
                begin, begin_port = source
                edge = {"from-layer": begin, "from-port": begin_port, "to-layer": key, "to-port": port}
                ET.SubElement(self.edges, "edge", {name: str(value) for name, value in edge.items()})
        made = [(key, len(inputs) + i) for i in range(len(shapes))]
        if made:
            element = ET.SubElement(layer, "output")
            for port, shape in zip(made, shapes, strict=True):
                self._port(element, port[1], shape, precision)
                self.shape[port] = shape
        return made

    def _port(self, element: ET.Element, port: int, shape: tuple[int, ...], precision: str) -> None:
        row = ET.SubElement(element, "port", id=str(port), precision=precision)
        for side in shape:
            ET.SubElement(row, "dim").text = str(side)

    def const(self, values) -> Port:
        values = np.asarray(values)
        values = values.astype(np.int64 if values.dtype.kind == "i" else np.float32)
        kind, precision = TYPES[values.dtype.name]
        data = {
            "element_type": kind,
            "shape": ", ".join(map(str, values.shape)),
            "offset": str(len(self.weights)),
            "size": str(values.nbytes),
        }
        self.weights += values.tobytes()
        return self.add("Const", data, (), [values.shape], precision=precision)[0]

    def two(self, kind: str, a: Port, b: Port) -> Port:
        shape = np.broadcast_shapes(self.shape[a], self.shape[b])
        return self.add(kind, {"auto_broadcast": "numpy"}, (a, b), [shape])[0]

    def leaky(self, x: Port) -> Port:
        return self.add("PReLU", {}, (x, self.const([0.2])), [self.shape[x]])[0]

    def matmul(self, x: Port, weight: np.ndarray) -> Port:
        data = {"transpose_a": "false", "transpose_b": "true"}
        return self.add("MatMul", data, (x, self.const(weight)), [(1, len(weight))])[0]

    def reshape(self, x: Port, shape: tuple[int, ...]) -> Port:
        return self.add("Reshape", {"special_zero": "true"}, (x, self.const(list(shape))), [shape])[0]

    def conv(self, kind: str, data: dict[str, str], x: Port, weight: np.ndarray, outputs: int) -> Port:
        return self.add(kind, data, (x, self.const(weight)), [(1, outputs, *self.shape[x][2:])])[0]

    def result(self, x: Port) -> tuple[bytes, bytes]:
        """The two files."""
        self.add("Result", {}, (x,), [])
        return ET.tostring(self.net), self.weights


def mapping(state: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    z_dim = state["mapping.fc0.weight"].shape[1]
    g = Graph("MappingNetwork", (1, z_dim))
    square = g.two("Power", g.input, g.const([[2.0]]))
    mean = g.add("ReduceMean", {"keep_dims": "true"}, (square, g.const([1])), [(1, 1)])[0]
    root = g.two("Power", g.two("Add", mean, g.const([[1e-8]])), g.const([[0.5]]))
    x = g.two("Multiply", g.input, g.two("Multiply", g.const([[1.0]]), g.two("Power", root, g.const([[-1.0]]))))
    for i in range(sum(name.startswith("mapping.fc") for name in state) // 2):
        bias = state[f"mapping.fc{i}.bias"]
        x = g.two("Add", g.matmul(x, state[f"mapping.fc{i}.weight"]), g.reshape(g.const(bias), (1, len(bias))))
        x = g.two("Multiply", g.leaky(x), g.const([[2**0.5]]))
    return g.result(x)


def synthesis(state: dict[str, np.ndarray], w_dim: int) -> tuple[bytes, bytes]:
    g = Graph("SynthesisNetwork", (1, w_dim))

    def modulate(x: Port, name: str) -> Port:
        weight = state[f"{name}.weight"]
        vector = g.two("Add", g.matmul(g.input, weight), g.const(state[f"{name}.bias"][None]))
        vector = g.reshape(vector, (1, len(weight), 1, 1))
        if not name.endswith("up"):
            vector = g.two("Multiply", vector, g.const([[[[1.0]]]]))
        return g.two("Multiply", vector, x)

    def activate(x: Port, name: str) -> Port:
        x = g.two("Add", x, g.const(state[f"{name}.noise"][None, None]))
        return g.leaky(g.two("Add", x, g.const(state[f"{name}.bias"][None, :, None, None])))

    def enlarge(x: Port, sign: int, axis: int) -> Port:
        _, channels, height, width = g.shape[x]
        taps = np.array([ROOT_HALF, sign * ROOT_HALF], np.float32)
        kernel = np.tile(taps.reshape((2, 1) if axis == 0 else (1, 2)), (channels, 1, 1, 1, 1))
        data = PLAIN | {"strides": "2, 1" if axis == 0 else "1, 2", "output_padding": "0, 0"}
        shape = (1, channels, 2 * height, width) if axis == 0 else (1, channels, height, 2 * width)
        return g.add("GroupConvolutionBackpropData", data, (x, g.const(kernel)), [shape])[0]

    def transform(x: Port) -> Port:
        _, channels, height, width = g.shape[x]
        c = channels // 4
        parts = [(1, c, height, width), (1, 3 * c, height, width)]
        low, high = g.add("VariadicSplit", {}, (x, g.const(np.array(1)), g.const([c, 3 * c])), parts)
        high = g.reshape(high, (1, c, 3, height, width))
        cut = g.add(
            "VariadicSplit", {}, (high, g.const(np.array(2)), g.const([1, 1, 1])), [(1, c, 1, height, width)] * 3
        )
        bands = [g.add("Squeeze", {}, (band, g.const([2])), [(1, c, height, width)])[0] for band in cut]
        left = g.two("Add", enlarge(low, 1, 0), enlarge(bands[0], -1, 0))
        right = g.two("Add", enlarge(bands[1], 1, 0), enlarge(bands[2], -1, 0))
        return g.two("Add", enlarge(left, 1, 1), enlarge(right, -1, 1))

    const = state["synthesis.b4.const"]
    shape = (1, *const.shape)
    x = g.add("Broadcast", {"mode": "numpy"}, (g.const(const[None]), g.const(list(shape))), [shape], opset="opset3")[0]
    x = g.add("Tile", {}, (x, g.const([1, 1, 1, 1])), [shape])[0]
    weight = state["synthesis.b4.weight"]
    x = g.conv("Convolution", PADDED, modulate(x, "synthesis.b4.affine"), weight, len(weight))
    x = activate(x, "synthesis.b4")
    resolution = 8
    while f"synthesis.b{resolution}.up.weight" in state:
        block = f"synthesis.b{resolution}"
        x = transform(modulate(x, f"{block}.up"))
        for name in (f"{block}.conv0", f"{block}.conv1"):
            depthwise, pointwise = state[f"{name}.depthwise"], state[f"{name}.pointwise"]
            x = g.conv("GroupConvolution", PADDED, modulate(x, f"{name}.affine"), depthwise[:, None], len(depthwise))
            x = activate(g.conv("Convolution", PLAIN, x, pointwise, len(pointwise)), name)
        resolution *= 2
    x = g.conv("Convolution", PLAIN, modulate(x, "synthesis.torgb.affine"), state["synthesis.torgb.weight"], 12)
    x = g.two("Add", x, g.const(state["synthesis.torgb.bias"][None, :, None, None]))
    return g.result(transform(x))
