"""Steps of networks as ONNX graphs: torch's function once more, evaluated by ONNX Runtime where that is faster.

A graph `assets/onnx/<family>/<net>.onnx` holds operations only. The network's tensors are declared in it by name and
shape and lent to it when it is loaded, so the safetensors stay their one source and a graph has a few kB. It is used
where its file is there; `python -m benchmarks backends --save` keeps those that win and agree.

A network that can be exported has `step(*tensors)`, a pure function, and `example()`, inputs of it; `free` names the
sizes of them that may differ from call to call, {input: {dimension: name}}.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from engines.errors import BadWeights, UnfoldError

TYPES = {torch.float32: np.float32, torch.int64: np.int64, torch.bool: np.bool_}


def identity(network: nn.Module) -> dict[str, str]:
    """What a graph fits, whatever was learnt: the class and the sizes it was made with."""
    kind = type(network)
    return {"class": f"{kind.__module__}.{kind.__name__}", "config": json.dumps(network.config, sort_keys=True)}


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """A network's tensors by what a graph calls them; the brackets let `load` find whole names in a file's bytes."""
    return {f"[{name}]": x for name, x in [*network.named_parameters(), *network.named_buffers()]}


NOWHERE = torch.zeros(1)


def address(x: Tensor) -> int:
    """Where x lies; a tensor without elements lies nowhere, and ONNX Runtime will not have that."""
    return (x if x.numel() else NOWHERE).data_ptr()


class Graph:
    """The step of one network. It keeps nothing between calls, so all lanes and threads share it."""

    def __init__(self, session: Any, step: Callable[..., Any]):
        self.session, self.step = session, step
        self.inputs = [(i.name, i.shape) for i in session.get_inputs()]
        self.outputs = [(o.name, o.shape) for o in session.get_outputs()]

    def fits(self, inputs: Sequence[Tensor]) -> bool:
        """Are these of the shapes that the graph was made for?"""
        return all(x.dim() == len(shape) and all(n == size or isinstance(size, str) for n, size in zip(x.shape, shape))
                   for x, (_, shape) in zip(inputs, self.inputs, strict=True))

    def __call__(self, *inputs: Tensor) -> Any:
        """What `step` answers; inputs of other shapes go to torch."""
        if not self.fits(inputs):
            return self.step(*inputs)
        # Bound by address: nothing is copied. A binding of its own, since other threads may be in here too.
        binding = self.session.io_binding()
        inputs = tuple(x.contiguous() for x in inputs)
        sizes: dict[str, int] = {}
        for (name, shape), x in zip(self.inputs, inputs, strict=True):
            sizes |= {size: n for size, n in zip(shape, x.shape) if isinstance(size, str)}
            binding.bind_input(name, "cpu", 0, TYPES[x.dtype], tuple(x.shape), address(x))
        answers = [torch.empty([sizes.get(n, n) for n in shape]) for _, shape in self.outputs]
        for (name, _), x in zip(self.outputs, answers, strict=True):
            binding.bind_output(name, "cpu", 0, np.float32, tuple(x.shape), address(x))
        self.session.run_with_iobinding(binding)
        return answers[0] if len(answers) == 1 else tuple(answers)


def load(network: nn.Module, path: Path) -> Graph:
    """The graph at path over this network's tensors. Raises BadWeights if it is damaged or another network's."""
    import onnxruntime  # noqa: PLC0415 - a process that has no graph to load should not wait for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is said below
    data = path.read_bytes()
    # Only what the step uses may be lent.
    held = {name: x.numpy() for name, x in tensors(network).items() if name.encode() in data}
    options.add_external_initializers(list(held), [onnxruntime.OrtValue.ortvalue_from_numpy(x) for x in held.values()])
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        fits = session.get_modelmeta().custom_metadata_map == identity(network)
    except Exception:  # its errors have no common base
        fits = False
    if not fits:
        name = f"{path.parent.name}/{path.stem}"
        raise BadWeights(f"{path} is damaged or the graph of another network; export it again with "
                         f"`python -m engines export {name}`, or delete it")
    return Graph(session, cast(Any, network).step)


class _Step(nn.Module):
    """What `functional_call` wants: a module that is called."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return cast(Any, self.network).step(*inputs)


class _Open(nn.Module):
    """A step as a function of the network's tensors too: the exporter would work parts of known ones out."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.__dict__["inner"] = _Step(network)  # not a part of this module

    def forward(self, held: dict[str, Tensor], *inputs: Tensor) -> Any:
        named = {f"network.{name[1:-1]}": x for name, x in held.items()}
        return functional_call(self.__dict__["inner"], named, inputs)


def export(network: nn.Module) -> bytes:
    """The graph of a network's step, as a file's content. Raises UnfoldError where the exporter is not installed."""
    try:
        import onnx  # noqa: PLC0415 - a developer's tool
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise UnfoldError("exporting needs onnx and onnxscript",
                          "Run `pip install -r requirements-dev.txt`.") from error
    held = tensors(network)
    inputs = cast(Any, network).example()
    free: dict[int, dict[int, str]] = getattr(network, "free", {})
    sizes = ({name: None for name in held}, tuple(free.get(i) for i in range(len(inputs))))
    program = torch.onnx.export(_Open(network).eval(), (held, *inputs), dynamic_shapes=sizes, dynamo=True,
                                verbose=False)
    assert program is not None
    model = program.model_proto
    graph = model.graph
    names = dict(zip([i.name for i in graph.input], held, strict=False))
    used = {x for node in graph.node for x in node.input}
    for node in graph.node:
        for part in ("name", "doc_string", "metadata_props"):  # which line of which file it was
            node.ClearField(part)
        node.input[:] = [names.get(x, x) for x in node.input]
    for value in graph.input[: len(held)]:
        if value.name not in used:
            continue
        kind = value.type.tensor_type
        tensor = onnx.TensorProto(name=names[value.name], dims=[d.dim_value for d in kind.shape.dim],
                                  data_type=kind.elem_type, data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="safetensors")
        graph.initializer.append(tensor)
    del graph.input[: len(held)], graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    for value in [*graph.input, *graph.output]:
        value.ClearField("metadata_props")
    onnx.helper.set_model_props(model, identity(network))
    return model.SerializeToString()
