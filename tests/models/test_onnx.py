"""Generators that were exported to ONNX: the graph's pictures, and files that reach outside themselves."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from installation.errors import CheckpointError, InstallationError, ModelError, install_extra
from installation.models import bring, checkpoint, info, library
from installation.models.header import read_header
from installation.models.importers.onnx_file import signature
from installation.models.network import Generator
from installation.models.onnx_generator import OnnxGenerator

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((5, 3 * 4 * 6)).astype(np.float32)


def model(
    *, batch: int | str = "N", end: str = "Tanh", flat: bool = True, nodes: list | None = None, outputs: int = 1
) -> onnx.ModelProto:
    """z [N, 5] -> end(z @ weight) as [N, 3, 4, 6]."""
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, 5] if flat else [batch, 5, 1, 1])
    img = [helper.make_tensor_value_info(f"img{i}", TensorProto.FLOAT, [batch, 3, 4, 6]) for i in range(outputs)]
    made = [
        helper.make_node("Flatten", ["z"], ["row"]),
        helper.make_node("MatMul", ["row", "weight"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["square"]),
        *(helper.make_node(end, ["square"], [f"img{i}"]) for i in range(outputs)),
        *(nodes or []),
    ]
    weights = [numpy_helper.from_array(WEIGHT, "weight"), numpy_helper.from_array(np.array([-1, 3, 4, 6]), "shape")]
    graph = helper.make_graph(made, "generator", [z], img, weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def add(made: onnx.ModelProto | bytes, folder: Path) -> Path:
    data = made if isinstance(made, bytes) else made.SerializeToString()
    (folder / "mine.onnx").write_bytes(data)
    return bring.add(str(folder / "mine.onnx"), progress=lambda what, share: None, data_dir=folder / "models")


@pytest.mark.parametrize("end", ["Tanh", "Sigmoid"])
@pytest.mark.parametrize(("batch", "flat"), [("N", True), (1, True), ("N", False), (1, False)])
def test_pictures_are_those_of_the_graph(tmp_path: Path, end: str, batch: int | str, flat: bool) -> None:
    path = add(model(batch=batch, end=end, flat=flat), tmp_path)
    header = read_header(path)
    assert (header.arch, header.z_dim, header.w_dim, header.size, header.shape) == ("onnx", 5, 0, 6, (4, 6))
    network = checkpoint.load(path)
    assert isinstance(network, OnnxGenerator)
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    square = torch.from_numpy(z.numpy() @ WEIGHT).view(3, 3, 4, 6)
    expected = square.tanh() if end == "Tanh" else square.sigmoid() * 2 - 1
    assert isinstance(network, Generator)
    torch.testing.assert_close(network.synthesis(network.mapping(z)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(network(z, 0.5), network.synthesis(network.mapping(z * 0.5)))


def external(made: onnx.ModelProto, location: str) -> onnx.ModelProto:
    """Its weight moved to another file."""
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return made


def nested_external() -> onnx.ModelProto:
    """The same within a branch of an If, where a search of the top alone does not look."""
    inner = external(model(), "/etc/passwd").graph
    choose = helper.make_node("If", ["yes"], ["chosen"], then_branch=inner, else_branch=inner)
    return model(nodes=[choose])


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../../../etc/passwd"])
def test_weights_in_other_files_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(CheckpointError, match="weights that lie in another file"):
        add(external(model(), location), tmp_path)
    with pytest.raises(CheckpointError, match="weights that lie in another file"):
        add(nested_external(), tmp_path)
    assert not list((tmp_path / "models").glob("*.safetensors"))


def elsewhere() -> onnx.TensorProto:
    return external(model(), "weights.bin").graph.initializer[0]


def test_weights_in_other_files_are_found_wherever_a_tensor_may_stand(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["c"], value=elsewhere())
    list_of_them = helper.make_node("Constant", [], ["c"])
    list_of_them.attribute.append(
        onnx.AttributeProto(name="values", type=onnx.AttributeProto.TENSORS, tensors=[elsewhere()])
    )
    sparse = onnx.SparseTensorProto(values=elsewhere(), indices=numpy_helper.from_array(np.array([0]), "i"), dims=[5])
    thin = helper.make_node("Constant", [], ["c"])
    thin.attribute.append(
        onnx.AttributeProto(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)
    )
    thin_list = helper.make_node("Constant", [], ["c"])
    thin_list.attribute.append(
        onnx.AttributeProto(name="sparse_values", type=onnx.AttributeProto.SPARSE_TENSORS, sparse_tensors=[sparse])
    )
    in_graphs = helper.make_node("If", ["yes"], ["c"])
    graphs = [external(model(), "weights.bin").graph]
    in_graphs.attribute.append(onnx.AttributeProto(name="graphs", type=onnx.AttributeProto.GRAPHS, graphs=graphs))
    with_sparse = model()
    with_sparse.graph.sparse_initializer.append(sparse)
    indices = model()
    indices.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=numpy_helper.from_array(WEIGHT[0], "v"), indices=elsewhere(), dims=[5])
    )
    made = [model(nodes=[node]) for node in (constant, list_of_them, thin, thin_list, in_graphs)]
    for one in [*made, with_sparse, indices]:
        with pytest.raises(CheckpointError, match="weights that lie in another file"):
            add(one, tmp_path)


def test_functions_and_training_parts_are_refused(tmp_path: Path) -> None:
    with_function = model()
    with_function.functions.append(
        helper.make_function("local", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [])
    )
    with pytest.raises(CheckpointError, match="a function part, which no generator needs"):
        add(with_function, tmp_path)
    trained = model()
    trained.training_info.append(onnx.TrainingInfoProto())
    with pytest.raises(CheckpointError, match="a training part, which no generator needs"):
        add(trained, tmp_path)


def test_a_checkpoint_that_reaches_outside_is_refused_too(tmp_path: Path) -> None:
    path = add(model(), tmp_path)
    data = external(model(), "weights.bin").SerializeToString()
    header = read_header(path)
    header = dataclasses.replace(header, config=header.config | {"nbytes": len(data)})
    checkpoint.save(path, {"model": torch.frombuffer(bytearray(data), dtype=torch.uint8)}, header)
    with pytest.raises(CheckpointError, match="weights that lie in another file"):
        checkpoint.load(path)


def test_operators_of_other_domains_are_refused(tmp_path: Path) -> None:
    strange = helper.make_node("Shell", ["z"], ["x"], domain="com.example")
    with pytest.raises(CheckpointError, match=r"an operator of 'com.example', which is not standard"):
        add(model(nodes=[strange]), tmp_path)


def test_what_may_never_end_or_draws_chance_is_refused(tmp_path: Path) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["going"], ["goes"])], "body", [], [])
    endless = helper.make_node("Loop", ["trips", "going", "square"], ["x"], body=body)
    with pytest.raises(CheckpointError, match="an operator Loop, which may never end"):
        add(model(nodes=[endless]), tmp_path)
    branch = helper.make_graph([helper.make_node("RandomNormal", [], ["r"], shape=[2])], "branch", [], [])
    for node in (
        helper.make_node("RandomNormalLike", ["square"], ["x"]),
        helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch),
    ):
        with pytest.raises(
            CheckpointError, match=r"RandomNormal.*the same z would give other pictures.*noise_mode='const'"
        ):
            add(model(nodes=[node]), tmp_path)


def test_a_graph_of_a_few_bytes_cannot_take_all_memory(tmp_path: Path) -> None:
    made = model()
    for source in ("count", "z"):  # known to the optimiser before anything runs, and only while it runs
        bomb = onnx.ModelProto.FromString(made.SerializeToString())
        bomb.graph.initializer.append(numpy_helper.from_array(np.array([3_000_000_000]), "count"))
        nodes = [helper.make_node("ConstantOfShape", ["count"], ["zeros"])]
        if source == "z":  # as many again as z has rows
            nodes = [
                helper.make_node("Shape", ["z"], ["sides"], end=1),
                helper.make_node("Mul", ["sides", "count"], ["many"]),
                helper.make_node("ConstantOfShape", ["many"], ["zeros"]),
            ]
        nodes += [
            helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
            helper.make_node("Add", ["square", "zero"], ["more"]),
        ]
        bomb.graph.node[-1].input[0] = "more"
        for node in nodes:
            bomb.graph.node.insert(len(bomb.graph.node) - 1, node)
        before = psutil.Process().memory_info().rss
        with pytest.raises(ModelError, match=r"onnxruntime (refuses|cannot run) the graph .*memory"):
            add(bomb, tmp_path)
        assert psutil.Process().memory_info().rss - before < 1 << 30


def test_its_parameters_are_those_of_the_graph(tmp_path: Path) -> None:
    path = add(model(), tmp_path)
    rows = dict(info.describe(library.Entry("mine", path, read_header(path))))
    assert rows["parameters"].startswith(f"{WEIGHT.size:,} (")
    assert rows["work"] == f"{2 * WEIGHT.size / 1e9:.3g} GFLOP a picture"


def test_the_work_of_a_graph_is_that_of_its_convolutions_and_products(tmp_path: Path) -> None:
    weights = {"lin": (80, 6), "up": (5, 4, 4, 4), "grouped": (8, 2, 3, 3), "colours": (3, 8, 1, 1)}
    nodes = [
        helper.make_node("Gemm", ["z", "lin"], ["row"], transB=1),
        helper.make_node("Reshape", ["row", "shape"], ["x4"]),
        helper.make_node("ConvTranspose", ["x4", "up"], ["x8"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x8", "grouped"], ["wide"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["wide", "colours"], ["img"]),
    ]
    constants = [
        numpy_helper.from_array(RNG.standard_normal(s).astype(np.float32), name) for name, s in weights.items()
    ]
    constants.append(numpy_helper.from_array(np.array([-1, 5, 4, 4]), "shape"))
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 6])
    img = helper.make_tensor_value_info("img", TensorProto.FLOAT, ["N", 3, 8, 8])
    graph = helper.make_graph(nodes, "generator", [z], [img], constants)
    path = add(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), tmp_path)
    network = checkpoint.load(path)
    assert isinstance(network, OnnxGenerator)
    assert network.macs() == 6 * 80 + 5 * 4 * 16 * 16 + 8 * 2 * 9 * 64 + 8 * 3 * 64
    assert network.synthesis(torch.zeros(2, 1, 6)).shape == (2, 3, 8, 8), "and it can be run again"
    rows = dict(info.describe(library.Entry("mine", path, read_header(path))))
    assert rows["parameters"].startswith(f"{sum(np.prod(s) for s in weights.values()):,} (")


def test_graphs_that_are_no_generators_are_named(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="1 inputs and 2 outputs"):
        add(model(outputs=2), tmp_path)
    with pytest.raises(InstallationError, match="makes 4 pictures at a time"):
        add(model(batch=4), tmp_path)
    grey = model()
    grey.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    with pytest.raises(InstallationError, match=r"its output is type 1 \[0, 1, 4, 6\]"):
        add(grey, tmp_path)
    wrong = model()
    wrong.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(InstallationError, match="onnxruntime refuses the graph"):
        add(wrong, tmp_path)
    poisoned = model()
    poisoned.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT * np.nan, "weight"))
    with pytest.raises(InstallationError, match="not finite"):
        add(poisoned, tmp_path)


def test_cut_and_damaged_files_give_a_clear_error(tmp_path: Path) -> None:
    data = model().SerializeToString()
    for length in range(0, len(data), 11):
        # A file that ends between two parts is a whole message again, of another model.
        with contextlib.suppress(CheckpointError):
            assert signature(data[:length], where="test").outputs
    rng = np.random.default_rng(1)
    for _ in range(500):
        mutated = bytearray(data)
        for at in rng.integers(len(data), size=3):
            mutated[at] = rng.integers(256)
        try:
            signature(mutated, where="test")
        except CheckpointError:
            continue
    deep = b""
    for _ in range(200):  # a graph in an attribute of a node of a graph ...
        deep = _field(1, _field(5, _field(6, deep)))
    with pytest.raises(CheckpointError, match="nested too deeply"):
        signature(_field(7, deep), where="test")


@pytest.mark.parametrize("packed", [False, True])
def test_a_tensor_of_endless_dims_is_refused_at_once(packed: bool) -> None:
    sides = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
    dims = _field(1, sides * 100_000) if packed else (b"\x08" + sides) * 100_000
    with pytest.raises(CheckpointError, match="more numbers than any file holds"):
        signature(_field(7, _field(5, dims)), where="test")


@pytest.mark.parametrize(
    "key",
    [
        (13 << 3 | 2) | 1 << 32,  # protobuf reads external_data: it keeps 32 bits
        1 << 32,  # field 0
        1 << 35 | 1,  # six bytes
    ],
)
def test_a_key_that_protobuf_would_read_otherwise_is_refused(key: int) -> None:
    hidden = _varint(key) + b"\0"
    for message in (hidden, _field(7, hidden), _field(7, _field(5, hidden))):
        with pytest.raises(CheckpointError, match="not an ONNX file, or a damaged one"):
            signature(model().SerializeToString() + message, where="test")


def test_a_number_or_length_of_more_bits_than_protobuf_keeps_is_refused() -> None:
    for number in (b"\x08" + _varint(1 << 64), b"\x00\x00", b"\x12" + _varint(1 << 32)):
        with pytest.raises(CheckpointError, match="not an ONNX file, or a damaged one"):
            signature(model().SerializeToString() + number, where="test")
    signature(model().SerializeToString() + b"\x28" + _varint((1 << 64) - 1), where="test")  # -1


def _varint(number: int) -> bytes:
    head = bytearray()
    while number > 127:
        head.append(number & 127 | 128)
        number >>= 7
    return bytes(head + bytes([number]))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def test_a_missing_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = add(model(), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="needs onnxruntime") as fault:
        checkpoint.load(path)
    assert install_extra("onnx") in str(fault.value)
