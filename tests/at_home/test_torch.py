"""PyTorch: what its own functions and modules do, ours do, each in a model that learns.

Everything in the registry is compiled, exported, traced, mixed with half precision, checkpointed,
copied, saved and pruned. The truth is the model itself, run eagerly, whose values other tests
compare with mpmath, or the model with torch's own function. What takes the compiler seconds is in
the default ring for the first function of each family.
"""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import onnx
import onnxruntime
import pytest
import torch
from at_home.torch_subjects import ONE_OF_EACH_FAMILY, SUBJECTS, tensors_of, values_and_gradients
from oracle import CountingCompiler, noting, over
from torch.nn.utils import parametrize, prune
from torch.utils.checkpoint import checkpoint

import activations_xp as ax
from activations_xp.backends.torch.native import NATIVE

SIZES = (2, 3, 5, 8, 13)


def _others_in_sweep(subjects, families=None):
    """Return the subjects, all but the first of these families in `nox -t sweep` alone."""
    slow = [
        s
        for s in subjects
        if s not in ONE_OF_EACH_FAMILY and (families is None or s.family in families)
    ]
    return [pytest.param(s, marks=pytest.mark.sweep if s in slow else ()) for s in subjects]


EVERYTHING = over("subject", _others_in_sweep(SUBJECTS, {"layers"}))
ONE_OF_EACH = over("subject", _others_in_sweep(SUBJECTS))
OUR_LAYERS = over("subject", [s for s in SUBJECTS if s.is_layer])
DETERMINISTIC = [s for s in SUBJECTS if not s.is_random]


def _assert_same(got, model, inputs, tolerance=1e-10):
    """Compare the values and the gradients of a model with those of another."""
    pairs = values_and_gradients(got, *inputs), values_and_gradients(model, *inputs)
    torch.testing.assert_close(*pairs, rtol=tolerance, atol=tolerance)


# compiled, exported and traced


@ONE_OF_EACH
def test_compile_takes_two_graphs_for_five_sizes(subject):
    torch.compiler.reset()
    counter = CountingCompiler(torch._dynamo.lookup_backend("aot_eager"))
    model = subject.model()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    values_and_gradients(model, *subject.inputs(2))  # the first call fills a table
    for size in SIZES:
        with noting(size):
            _assert_same(compiled, model, subject.inputs(size))
    assert counter.graphs <= 2


def _exported(model, inputs, strict):
    sizes = ({0: torch.export.Dim("n")},) * len(inputs)
    return torch.export.export(model, inputs, strict=strict, dynamic_shapes=sizes)


@over("strict", [False, True])
@ONE_OF_EACH
def test_export_with_any_size(subject, strict):
    model = subject.model()
    exported = _exported(model, subject.inputs(4), strict).module()
    for size in (4, 7):
        with noting(size):
            _assert_same(exported, model, subject.inputs(size))


def _operators(model, inputs):
    graph = _exported(model.eval(), inputs, strict=False).graph
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]


IS_TORCHS_OPERATOR = [
    s
    for s in SUBJECTS  # torch's ndtr is less accurate than its erfc, which ours scales
    if s.their_body is not None and s.name in NATIVE and s.function is not ax.ndtr
]


@over("subject", IS_TORCHS_OPERATOR)
def test_exported_graph_is_as_short_as_with_torchs_own(subject):
    """A function that torch's operator computes is that operator; in evaluation dropout is none."""
    models = subject.model(torch.float32), subject.their_model(torch.float32)
    ours, theirs = (_operators(model, subject.inputs(4, torch.float32)) for model in models)
    assert len(ours) <= len(theirs)


@EVERYTHING
def test_fx_sees_one_function(subject):
    model = subject.model()
    traced = torch.fx.symbolic_trace(model)
    _assert_same(traced, model, subject.inputs(4))
    if subject.function is not None:
        calls = [node.target for node in traced.graph.nodes if node.op == "call_function"]
        assert calls.count(subject.function) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@EVERYTHING
def test_jit_trace_saved_and_loaded(subject):
    model, inputs = subject.model(), subject.inputs(4)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(model, inputs, check_trace=False), file)
    file.seek(0)
    _assert_same(torch.jit.load(file), model, inputs)


# ONNX


def _onnx(model, inputs, *, dynamo):
    """Return the graph of a model in evaluation mode, for any number of examples."""
    model.eval()
    if dynamo:
        sizes = ({0: torch.export.Dim("n")},) * len(inputs)
        return torch.onnx.export(
            model, inputs, dynamo=True, dynamic_shapes=sizes, verbose=False
        ).model_proto
    names, file = [f"input_{i}" for i in range(len(inputs))], io.BytesIO()
    axes = {name: {0: "n"} for name in names}
    torch.onnx.export(
        model, inputs, file, dynamo=False, input_names=names, dynamic_axes=axes, opset_version=20
    )
    return onnx.load_from_string(file.getvalue())


def _run_onnx(graph, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    names = [given.name for given in session.get_inputs()]
    arrays = [x.numpy() for x in inputs]
    return [torch.tensor(y) for y in session.run(None, dict(zip(names, arrays, strict=True)))]


LIMITS_OF_TRACING = {
    **dict.fromkeys(("erfc", "ndtr"), "aten::erfc"),
    "erfinv": "aten::erfinv",
    "ndtri": "aten::special_ndtri",
    "threshold": "ONNX export of operator threshold, non-zero threshold",
    **dict.fromkeys(
        ("colu", "elish", "gish", "hardelish", "log1mexp", "logmeanexp", "seglu", "softclipping"),
        "aten::expm1",
    ),
    **dict.fromkeys(("softexponential", "xielu"), "aten::expm1"),
}
"""The operators of torch that its old exporter does not know."""


LIMITS_OF_ONNX = {"erfinv": "erf_inv", "ndtri": "ndtri"}
"""The operators of torch that no exporter knows, also where its own function is exported."""


def _assert_onnx(subject, dynamo):
    model, inputs = subject.model(torch.float32), subject.inputs(4, torch.float32)
    graph = _onnx(model, inputs, dynamo=dynamo)
    others = subject.inputs(7, torch.float32)
    expected = [y.detach() for y in tensors_of(model(*others))]
    torch.testing.assert_close(_run_onnx(graph, others), expected, rtol=1e-6, atol=1e-6)
    if subject in IS_TORCHS_OPERATOR and subject.function is not ax.rrelu:  # F.rrelu has none
        theirs = _onnx(subject.their_model(torch.float32), inputs, dynamo=dynamo)
        assert len(graph.graph.node) <= len(theirs.graph.node)


@pytest.mark.filterwarnings(
    "ignore:.isinstance.treespec, LeafSpec:FutureWarning",  # torch's own
    "ignore:# The axis name. n will not be used",  # which is said of axes that share it
)
@over("subject", _others_in_sweep(DETERMINISTIC))
def test_onnx(subject):
    limit = LIMITS_OF_ONNX.get(subject.name.lower())
    if limit is None:
        _assert_onnx(subject, dynamo=True)
        return
    models = [subject.model, *([subject.their_model] if subject.their_body else [])]
    for model in (make() for make in models):
        with pytest.raises(torch.onnx.OnnxExporterError, match="Failed to convert") as raised:
            _onnx(model, subject.inputs(4), dynamo=True)
        assert limit in str(raised.value.__cause__)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@over("subject", _others_in_sweep(DETERMINISTIC, {"layers"}))
def test_onnx_by_tracing(subject):
    limit = LIMITS_OF_TRACING.get(subject.name.lower().replace("_", ""))
    if limit is None:
        _assert_onnx(subject, dynamo=False)
        return
    with pytest.raises(torch.onnx.errors.OnnxExporterError, match=limit):
        _onnx(subject.model(), subject.inputs(4), dynamo=False)


# trained: mixed precision, checkpoints


WITHOUT_HALF = (ax.log_ndtr, ax.ndtri)
"""The functions of torch that are not implemented for 16-bit floats on the CPU."""


class BehindLinear(torch.nn.Module):
    """A body that takes what Linear modules return, and the last input as it is."""

    def __init__(self, body, sizes):
        super().__init__()
        self.linears = torch.nn.ModuleList(torch.nn.Linear(n, n, bias=False) for n in sizes)
        for linear in self.linears:
            torch.nn.init.eye_(linear.weight)  # which stays in the domain
        self.body = body

    def forward(self, *inputs):
        passed = [f(x) for f, x in zip(self.linears, inputs, strict=False)]
        return self.body(*passed, *inputs[len(passed) :])


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of torch's RMSNorm
@EVERYTHING
def test_autocast_behind_linear(subject):
    """The dtypes are those of torch's own function, also where only the first argument is half."""
    inputs = subject.inputs(4, torch.float32)
    sizes = [x.shape[-1] for x in inputs if x.is_floating_point()]

    def run(model, dtype, count):
        model = BehindLinear(model.body, sizes[:count]).eval()
        with torch.autocast("cpu", dtype=dtype):
            return values_and_gradients(model, *inputs)

    for dtype, count in itertools.product((torch.bfloat16, torch.float16), {1, len(sizes)}):
        with noting((dtype, count)):
            results, gradients = run(subject.model(torch.float32), dtype, count)
            known = [g for g in gradients.values() if g is not None]
            assert all(g.isfinite().all() and g.dtype == torch.float32 for g in known)
            if subject.their_body is None or subject.function in WITHOUT_HALF:
                continue
            theirs, _ = run(subject.their_model(torch.float32), dtype, count)
            if subject.is_random:  # by other numbers in half precision
                results, theirs = ([torch.zeros_like(y) for y in ys] for ys in (results, theirs))
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(results, theirs, rtol=4 * eps, atol=4 * eps)


class Checkpointed(torch.nn.Module):
    """A model that is computed again in the backward pass."""

    def __init__(self, model, reentrant):
        super().__init__()
        self.model, self.reentrant = model, reentrant

    def forward(self, *inputs):
        return checkpoint(self.model, *inputs, use_reentrant=self.reentrant)


@over("reentrant", [False, True])
@EVERYTHING
def test_checkpoint(subject, reentrant):
    model = subject.model()
    inputs = [x.requires_grad_(x.is_floating_point()) for x in subject.inputs(4)]
    pair = []
    for call in (model, Checkpointed(model, reentrant)):
        for x in inputs:
            x.grad = None
        pair.append((values_and_gradients(call, *inputs), [x.grad for x in inputs]))
    torch.testing.assert_close(*pair)


# copied, saved and changed


@EVERYTHING
def test_copies_and_state(subject):
    model, inputs = subject.model(), subject.inputs(4)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    blank = subject.model()
    for parameter in blank.parameters():
        torch.nn.init.constant_(parameter, 0.125)
    blank.load_state_dict(copy.deepcopy(model.state_dict()))
    pickled = pickle.loads(pickle.dumps(model))
    loaded = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(model), pickled, loaded, blank):
        _assert_same(other, model, inputs)


@OUR_LAYERS
def test_state_is_loaded_as_weights_only(subject):
    layer, file = subject.model().body, io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    assert str(torch.load(file, weights_only=True)) == str(layer.state_dict())


def _changed(subject, change):
    """Return a model whose layer's parameters are changed by hand."""
    model = subject.model()
    state = {name: change(p) for name, p in model.body.state_dict().items()}
    model.body.load_state_dict(state)
    return model


def _parameters(layer):
    """Return the modules that hold the parameters of a layer, and their names there."""
    return [(m, name) for m in layer.modules() for name, _ in m.named_parameters(recurse=False)]


class Halved(torch.nn.Module):
    """A parametrization."""

    def forward(self, x):
        return x / 2


@OUR_LAYERS
def test_parametrize(subject):
    model, inputs = subject.model(), subject.inputs(4)
    for module, name in _parameters(model.body):
        parametrize.register_parametrization(module, name, Halved())
    results, gradients = values_and_gradients(model, *inputs)
    expected, theirs = values_and_gradients(_changed(subject, lambda p: p / 2), *inputs)
    torch.testing.assert_close(results, expected)
    for name, gradient in gradients.items():
        original = name.replace("parametrizations.", "").removesuffix(".original")
        scale = 1 if original == name else 2
        torch.testing.assert_close(scale * gradient, theirs[original])


@OUR_LAYERS
def test_prune(subject):
    model, inputs = subject.model(), subject.inputs(4)

    def mask(p):
        return (torch.arange(p.numel()).reshape(p.shape) % 2).to(p)

    for module, name in _parameters(model.body):
        prune.custom_from_mask(module, name, mask(getattr(module, name)))
    results, _ = values_and_gradients(model, *inputs)
    expected, _ = values_and_gradients(_changed(subject, lambda p: p * mask(p)), *inputs)
    torch.testing.assert_close(results, expected)
