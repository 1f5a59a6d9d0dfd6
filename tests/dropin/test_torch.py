"""The drop-in of torch beside it: signatures, values, gradients, errors and torch's samples."""

from __future__ import annotations

import functools
import inspect
import math
import pickle
import re
import warnings

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import activations_xp.dropin.torch as dropin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

ATTENTION = {"multi_head_attention_forward", "scaled_dot_product_attention"}
"""These take several arrays, and have tests of their own."""

PUBLIC = {
    name: function
    for name, function in vars(dropin).items()
    if inspect.isfunction(function)
    and function.__module__ == dropin.__name__
    and not name.startswith("_")
    and name not in ATTENTION
}
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def parameters(name):
    """Return all parameters but the array, which is the first, and the source of noise."""
    return [p for p in list(signature(name))[1:] if p.name != "rng"]


def signature(name):
    return inspect.signature(PUBLIC[name]).parameters.values()


def functions_with(*names):
    """Return the names of the functions that have one of these parameters."""
    return {name for name in PUBLIC if {p.name for p in parameters(name)} & set(names)}


RANDOM = {name for name in PUBLIC if any(p.name == "rng" for p in signature(name))}
INPLACE = sorted(functions_with("inplace"))
UNDERSCORED = sorted(name for name in PUBLIC if name.endswith("_"))
ELEMENTWISE = sorted(
    PUBLIC.keys() - functions_with("dim", "normalized_shape", "num_classes", "other")
)
OPERATORS = [
    (operator, name)
    for operator in op_db
    if operator.variant_test_name != "complex"
    for name in dict.fromkeys(
        re.sub(r"^(nn\.functional|special)\.", "", spelled)
        for spelled in (operator.name, *(alias.name for alias in operator.aliases))
    )
    if name in PUBLIC.keys() - RANDOM
]


def over(names, values):
    return pytest.mark.parametrize(names, values, ids=_label)


def _label(value):
    return getattr(value, "formatted_name", None) or str(value).removeprefix("torch.")


def theirs(name):
    """Return the function that torch has under this name."""
    spaces = (F, torch.special, torch)
    return next(getattr(space, name) for space in spaces if hasattr(space, name))


def given(name, dtype=torch.float32, **values):
    """Return values for the parameters that have no default or are in `values`."""
    weight = torch.tensor([0.125], dtype=dtype)
    needed = {"threshold": 0.25, "value": -7.0, "weight": weight, "other": weight, "dim": 0}
    needed |= {"normalized_shape": (4,), **values}
    chosen = {"training": False, **values}  # no function is random then
    return {
        p.name: {**needed, **chosen}[p.name]
        for p in parameters(name)
        if p.default is p.empty or p.name in chosen
    }


def value_and_gradients(function, *args, **kwargs):
    """Return the result, and the gradients of its sum for all arguments that require one."""
    y = function(*args, **kwargs)
    leaves = [v for v in (*args, *kwargs.values()) if getattr(v, "requires_grad", False)]
    return (y, *(torch.autograd.grad(y.sum(), leaves) if leaves else ()))


def outcome(function, *args, **kwargs):
    """Return the result, or the error."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


def assert_close(got, expected, message=None):
    """Compare values and gradients by torch's tolerances, or wider ones.

    In bfloat16 torch rounds each step, and the gradients may be differences of large numbers.
    """
    check = functools.partial(torch.testing.assert_close, equal_nan=True, msg=message)
    wide = {"rtol": 2.0**-5, "atol": 2.0**-7} if got[0].dtype == torch.bfloat16 else {}
    check(got[0], expected[0], **wide)
    wide = {"rtol": 1e-4, "atol": 1e-5} if got[0].dtype == torch.float32 else wide
    check(got[1:], expected[1:], **wide)


# names


def test_names_and_pickles():
    assert list(dropin.__all__) == sorted({*PUBLIC, *ATTENTION})
    for name, function in PUBLIC.items():
        assert pickle.loads(pickle.dumps(function)) is getattr(dropin, name) is function


@over("name", PUBLIC)
def test_signature(name):
    try:
        expected = [
            (p.name, p.kind, p.default) for p in inspect.signature(theirs(name)).parameters.values()
        ]
    except ValueError:
        expected = list(_of_a_builtin(theirs(name)))
    got = [(p.name, p.kind, p.default) for p in signature(name) if p.name != "rng"]
    assert got == expected


def _of_a_builtin(function):
    """Yield the parameters in the schema of an operator that its documentation shows."""
    schemas = torch._C._jit_get_schemas_for_operator
    name = function.__name__
    overloads = schemas(f"aten::{name}") or schemas(f"aten::special_{name}")
    longest = max((s.arguments for s in overloads if s.overload_name in ("", "out")), key=len)
    for argument in longest:
        default = inspect.Parameter.empty
        if argument.has_default_value() or argument.name == "out":
            default = argument.default_value
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        if argument.kwarg_only:
            kind = inspect.Parameter.KEYWORD_ONLY
        if argument.name == "self":
            yield "input", kind, default
        elif argument.name == "out" or argument.name in function.__doc__.partition("->")[0]:
            yield argument.name, kind, default


# values and gradients

SIZES = [
    *(0.0, 5e-324, 1e-45, 1e-8, 0.25, 1.0, 5.0, 5.5, 8.0, 19.9, 20.1, 37.43, 88.0, 104.0, 300.0),
    *(709.0, 745.0, 1e20, 3.4e38, 1.7e308, float("inf"), float("nan")),
]


RELIABLE = {"logit": (0, 1), "ndtri": (0, 1), "erfinv": (-1, 1), "log_ndtr": (-5, math.inf)}
"""Where the function is defined and torch's derivative right, if that is not everywhere."""


NO_BFLOAT16 = {"ndtri", "log_ndtr"}
"""These torch has not in bfloat16."""


@over(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in ELEMENTWISE
        for dtype in DTYPES
        if not (name in NO_BFLOAT16 and dtype == torch.bfloat16)
    ],
)
def test_values_and_gradients(name, dtype):
    x = torch.tensor([s * v for v in SIZES for s in (1, -1)], dtype=torch.float64).to(dtype)
    results = []
    for function in (PUBLIC[name], theirs(name)):
        leaf = x.clone().requires_grad_()
        y = function(leaf * 1, **given(name, dtype))
        results.append((y.detach(), *torch.autograd.grad(y.sum(), leaf)))
    got, expected = results
    low, high = RELIABLE.get(name, (-math.inf, math.inf))
    right = expected[0].isfinite() & expected[1].isfinite() & (x > low) & (x < high)
    assert right.any()
    assert_close([part[right] for part in got], [part[right] for part in expected])
    assert got[0][-2:].isnan().all()


def _in_float64(value):
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.detach().double().requires_grad_(value.requires_grad) if floating else value


NARROWER = {
    *("gumbel_softmax", "hardtanh_", "layer_norm", "logit", "normalize", "rms_norm", "softplus")
}
"""These refuse values that torch takes: a `tau` of 0 or less, a `beta` of 0, a `p` of 0 or less, an
`eps` out of [0, 0.5] or less than 0, and a `min_val` over `max_val`, which hardtanh_ ignores.
"""


def _sample_dtypes(operator):
    """Return the dtypes of `DTYPES` that an operator takes, or else that of integers."""
    supported = operator.supported_dtypes("cpu")
    return [dtype for dtype in DTYPES if dtype in supported] or [torch.int64]


@over(
    ("operator", "name", "dtype"),
    [
        pytest.param(o, name, dtype, marks=pytest.mark.sweep if dtype == torch.float64 else ())
        for o, name in OPERATORS
        for dtype in _sample_dtypes(o)
    ],
)
@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
def test_samples_of_torch(operator, name, dtype):
    has_gradients = dtype in operator.supported_backward_dtypes("cpu")
    tried = 0
    for sample in operator.sample_inputs("cpu", dtype, requires_grad=has_gradients):
        try:
            got = value_and_gradients(PUBLIC[name], sample.input, *sample.args, **sample.kwargs)
        except dropin.BadValueError:
            if name not in NARROWER:
                raise
            continue
        expected, exact = (
            value_and_gradients(operator.op, s.input, *s.args, **s.kwargs)
            for s in (sample, sample.transform(_in_float64))
        )
        # some of its gradients are right in float64 only
        gradients = [
            gradient.to(ours.dtype) for ours, gradient in zip(got[1:], exact[1:], strict=True)
        ]
        message = functools.partial("{}\n{}".format, sample.summary())
        assert_close(got, (expected[0], *gradients), message)
        tried += 1
    assert tried


@over("name", sorted(PUBLIC.keys() - set(UNDERSCORED) - functions_with("num_classes")))
def test_integers(name):
    """They are promoted to the default floating dtype or kept, also where torch has no kernel."""
    x = torch.arange(-4, 4).reshape(2, 4)
    values = given(name, dim=0, normalized_shape=(4,), other=x)
    y = PUBLIC[name](x, **values)
    assert y.dtype in (torch.float32, x.dtype)
    try:
        expected = theirs(name)(x, **values)
    except RuntimeError:  # a subclass says that there is no kernel
        assert y.dtype == torch.float32
    else:
        torch.testing.assert_close(y.to(expected.dtype), expected, equal_nan=True)


def test_compile_all_into_one_graph():
    extra = {"dim": 0, "normalized_shape": (4,), "num_classes": 8}
    dtypes = {
        name: torch.int64 if name in functions_with("num_classes") else None for name in PUBLIC
    }

    def call_all(x):
        return {n: f(x.clone().to(dtypes[n]), **given(n, **extra)) for n, f in PUBLIC.items()}

    x = (torch.arange(8) / 8).reshape(2, 4)
    got = torch.compile(call_all, fullgraph=True, backend="aot_eager")(x)
    expected = call_all(x)
    assert got.pop("gumbel_softmax").shape == expected.pop("gumbel_softmax").shape
    torch.testing.assert_close(got, expected, equal_nan=True)


@over("name", sorted(RANDOM))
def test_moments_of_random_functions(name):
    """The mean and the mean square of 1e6 numbers are within 5 sigma of torch's."""
    torch.manual_seed(0)
    x = torch.full((500, 500, 4), -1.0)
    training = {"training": True} if name in functions_with("training") else {}
    moments = []
    for function in (PUBLIC[name], theirs(name)):
        y = function(x.clone(), **training).double()
        moments.append(torch.stack([y, y * y]).flatten(1))
    ours, expected = moments
    # the 4 numbers of a channel are equal
    spread = (ours.var(1) + expected.var(1)).sqrt() / math.sqrt(x.numel() / 4)
    assert ((ours.mean(1) - expected.mean(1)).abs() <= 5 * spread + 1e-6).all()
    torch.testing.assert_close(ours.std(1), expected.std(1), rtol=0.02, atol=1e-6)


# inplace and out


@over("name", INPLACE)
def test_inplace(name):
    values = given(name)
    forms = [(lambda x, f=f: f(x, **values, inplace=True)) for f in (PUBLIC[name], theirs(name))]
    if f"{name}_" in PUBLIC:
        forms.append(lambda x: PUBLIC[f"{name}_"](x, **values))
    leaf = torch.linspace(-8, 8, 33).requires_grad_()
    plain = value_and_gradients(lambda x: PUBLIC[name](x, **values), leaf)
    for form in forms:
        x = leaf * 1
        assert form(x) is x
        assert_close((x, *torch.autograd.grad(x.sum(), leaf)), plain)
        if isinstance(outcome(theirs(name), leaf, **values, inplace=True), RuntimeError):
            with pytest.raises(RuntimeError, match="leaf"):
                form(leaf)
        with torch.no_grad():
            assert form(x) is x
    for nested in (
        torch.func.grad(lambda x: torch.func.vmap(lambda x: forms[0](x * 1))(x).sum()),
        torch.func.vmap(torch.func.grad(lambda x: forms[0](x * 1).sum())),
    ):
        torch.testing.assert_close(nested(leaf[None])[0], plain[1])


@over("name", [*INPLACE, *UNDERSCORED])
def test_inplace_of_integers(name):
    x = torch.arange(-4, 4)
    before = x.clone()
    values = given(name, inplace=True)
    if PUBLIC[name.removesuffix("_")](x, **given(name)).dtype == x.dtype:
        assert PUBLIC[name](x, **values) is x
    else:
        with pytest.raises(TypeError, match=r"^\w+: inplace needs .* got .*int64$"):
            PUBLIC[name](x, **values)
        assert torch.equal(x, before)


@over("name", sorted(functions_with("out")))
def test_out(name):
    x = torch.linspace(0.05, 0.95, 8, dtype=torch.float64).reshape(2, 4)
    values = given(name, torch.float64, dim=1)
    expected = PUBLIC[name](x, **values)
    for dtype in (torch.float64, torch.float32):
        out = torch.empty_like(expected, dtype=dtype)
        assert PUBLIC[name](x, **values, out=out) is out
        assert torch.equal(out, expected.to(dtype))


BAD_OUTS = {
    "shape": torch.empty(3),
    "integers": torch.empty((2, 4), dtype=torch.int64),
    "number": 1.0,
}


@over("out", BAD_OUTS)
@over("name", sorted(functions_with("out")))
def test_bad_out_raises(name, out):
    x = torch.linspace(0.05, 0.95, 8, dtype=torch.float64).reshape(2, 4)
    with pytest.raises((ValueError, TypeError), match=r"^\w+: out needs an array "):
        PUBLIC[name](x, **given(name, torch.float64, dim=1), out=BAD_OUTS[out])


# errors

ODD = ["a", None, [], (0, 0), 5, -5, 1.5, -1.5, 0, -1, True, object()]
UNTRIED = {"weight", "bias", "other", "out", "inplace", "keepdim", "_stacklevel"}


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@over(
    ("name", "parameter"),
    [(name, p.name) for name in PUBLIC for p in parameters(name) if p.name not in UNTRIED],
)
def test_odd_parameters_give_or_raise_what_torch_does(name, parameter):
    """A number for a weight, None and [] may be accepted here alone."""
    x = torch.linspace(0.05, 2, 24).reshape(2, 3, 4)
    if name in functions_with("num_classes"):
        x = x.to(torch.int64)
    for value in ODD:
        values = given(name) | {parameter: value}
        got, expected = (outcome(f, x.clone(), **values) for f in (PUBLIC[name], theirs(name)))
        is_random = name in RANDOM and values.get("training", True) is True
        if not isinstance(expected, Exception):
            if name not in NARROWER or not isinstance(got, (ValueError, TypeError)):
                assert not isinstance(got, Exception), f"{values} {got!r}"
                if not is_random:
                    torch.testing.assert_close(got, expected, equal_nan=True, msg=str(values))
        elif isinstance(got, Exception) or value not in (None, []):
            kinds = (type(expected), *([TypeError] if isinstance(value, str) else []))
            assert isinstance(got, kinds), f"{values} {got!r} {expected!r}"


def _bad_samples(operator):
    """Return the samples that raise, but for a number in place of an array, which we accept."""
    if not operator.error_inputs_func:
        return []
    return [bad for bad in operator.error_inputs("cpu") if bad.error_type is not Exception]


@over(("operator", "name"), [pair for pair in OPERATORS if _bad_samples(pair[0])])
def test_bad_samples_of_torch_raise(operator, name):
    for bad in _bad_samples(operator):
        sample = bad.sample_input
        with pytest.raises(bad.error_type) as caught:
            PUBLIC[name](sample.input, *sample.args, **sample.kwargs)
        assert isinstance(caught.value, (ValueError, TypeError))


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@over("name", PUBLIC)
def test_lists_and_complex_arrays_raise(name):
    for bad in ([1.0, 2.0, 3.0, 4.0], torch.ones(4) * 1j):
        values = given(name, num_classes=4)
        with pytest.raises(
            (TypeError, dropin.BadValueError), match=r"^\w+: (x|input) must be an array"
        ):
            PUBLIC[name](bad, **values)


@over("ndim", range(5))
@over("name", ["softmax", "log_softmax"])
def test_implicit_dim_warns(name, ndim):
    x = torch.randn((2, 3, 4, 5)[:ndim])
    with pytest.warns(UserWarning, match=f"Implicit dimension choice for {name}") as caught:
        got = PUBLIC[name](x)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=re.escape(str(caught[0].message))):
        torch.testing.assert_close(got, theirs(name)(x))
