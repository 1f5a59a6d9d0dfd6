"""The drop-in of torch beside it: signatures, values, gradients and errors.

`tests/peers/torch_samples.py` compares them at torch's own samples.
"""

from __future__ import annotations

import functools
import inspect
import math
import pickle
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import activations_xp.dropin.torch as dropin

ATTENTION = {"multi_head_attention_forward", "scaled_dot_product_attention"}
CHANNELS = {*("batch_norm", "group_norm", "instance_norm", "dropout1d", "dropout2d", "dropout3d")}
"""These take several arrays or arrays with channels, and have tests of their own."""

PUBLIC = {
    name: function
    for name, function in vars(dropin).items()
    if inspect.isfunction(function)
    and function.__module__ == dropin.__name__
    and not name.startswith("_")
    and name not in ATTENTION | CHANNELS
}
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def parameters(name):
    """Return all parameters but the array, which is the first, and the source of noise."""
    return [p for p in list(signature(name))[1:] if p.name != "rng"]


def signature(name):
    return inspect.signature(getattr(dropin, name)).parameters.values()


def functions_with(*names):
    """Return the names of the functions that have one of these parameters."""
    return {name for name in PUBLIC if {p.name for p in parameters(name)} & set(names)}


RANDOM = {name for name in PUBLIC if any(p.name == "rng" for p in signature(name))}
INPLACE = sorted(functions_with("inplace"))
UNDERSCORED = sorted(name for name in PUBLIC if name.endswith("_"))
ELEMENTWISE = sorted(
    PUBLIC.keys() - functions_with("dim", "normalized_shape", "num_classes", "other")
)


def over(names, values):
    return pytest.mark.parametrize(names, values, ids=_label)


def _label(value):
    return str(value).removeprefix("torch.")


def theirs(name):
    """Return the function that torch has under this name."""
    spaces = (F, torch.special, torch)
    return next(getattr(space, name) for space in spaces if hasattr(space, name))


def given(name, dtype=torch.float32, **values):
    """Return values for the parameters that have no default or are in `values`."""
    weight = torch.tensor([0.125], dtype=dtype)
    needed = {"threshold": 0.25, "value": -7.0, "weight": weight, "other": weight, "dim": 0}
    needed |= {"normalized_shape": (4,), "num_groups": 3, **values}
    needed |= dict.fromkeys(("running_mean", "running_var"))
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
    assert list(dropin.__all__) == sorted({*PUBLIC, *ATTENTION, *CHANNELS})
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


NUMBERS = ["normalize", "layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm"]


@over("name", [*NUMBERS, "logit"])
def test_tensors_without_axes_are_numbers(name):
    x = torch.linspace(0.05, 0.9, 24).reshape(2, 3, 4)
    values = given(name) | ({"training": True} if name == "batch_norm" else {})
    for eps in (torch.tensor(0.25), np.float32(0.25), torch.tensor(0.5)):
        results = [f(x, **values, eps=eps) for f in (getattr(dropin, name), theirs(name))]
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_a_probability_without_axes_is_checked_and_draws_the_same():
    x = torch.ones(4, 5)
    torch.manual_seed(0)
    expected = F.dropout(x, 0.25)
    torch.manual_seed(0)
    assert torch.equal(dropin.dropout(x, torch.tensor(0.25)), expected)
    with pytest.raises(dropin.BadValueError, match="requires 0 <= p <= 1"):
        dropin.dropout(x, torch.tensor(1.5))


@over("threshold", [20, -1])
@over("beta", [0, -0.0, math.inf, -math.inf, math.nan])
def test_softplus_at_the_limits_of_beta(beta, threshold):
    """At 0 torch has 0/0 where the limit, relu, is 0."""
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0, math.nan], requires_grad=True)
    got, expected = (
        value_and_gradients(f, x, beta, threshold) for f in (dropin.softplus, F.softplus)
    )
    if math.isinf(beta):
        assert torch.equal(got[0][2], torch.tensor(0.0))
        got, expected = ([v[[0, 1, 3, 4]] for v in r] for r in (got, expected))
    torch.testing.assert_close(got[0], expected[0], equal_nan=True)
    if not math.isinf(beta) and beta == beta:
        torch.testing.assert_close(got[1][:-1], expected[1][:-1])
    out = torch.empty(0)
    assert dropin.softplus(x.detach(), beta, threshold, out=out) is out
    assert out.shape == x.shape


@over(
    ("name", "dims"),
    [
        (name, dim)
        for name in sorted(functions_with("dim"))
        for dim in (np.int64(1), torch.tensor(1))
    ]
    + [(name, [np.int64(1), 0]) for name in ("logsumexp", "normalize")],
)
def test_dims_are_what_converts_to_integers(name, dims):
    x = torch.linspace(-1, 1, 24).reshape(2, 4, 3)
    results = [f(x, dim=dims) for f in (PUBLIC[name], theirs(name))]
    if name != "gumbel_softmax":
        torch.testing.assert_close(*results)


REALS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64]


@over("other", REALS)
@over("dtype", REALS)
def test_logaddexp_of_two_dtypes(dtype, other):
    for shapes in (((3,), (3,)), ((2, 1), (3,)), ((3,), (1,))):
        x, y = torch.ones(shapes[0], dtype=dtype), torch.ones(shapes[1], dtype=other)
        got = dropin.logaddexp(x, y)
        if dtype != other or dtype.is_floating_point:
            expected = torch.logaddexp(x, y)
            assert got.dtype == expected.dtype
            torch.testing.assert_close(got, expected)


# functions of channels


def _channel_calls():
    """Yield names, shapes and arguments of the normalizations and dropouts of channels."""
    for shape in ((2, 6, 5), (3, 6), (2, 6, 3, 2), (1, 6, 2, 2, 2)):
        spatial = math.prod(shape[2:])
        for affine in (True, False):
            for eps in (1e-5, 0.5):
                for groups in (1, 3, 6):
                    if shape[0] * 6 * spatial > groups:
                        yield "group_norm", shape, {"num_groups": groups, "eps": eps}, affine, False
                for running in (True, False):
                    given = {"training": True, "momentum": 0.3, "eps": eps}
                    yield "batch_norm", shape, given, affine, running
                    if spatial > 1:
                        given = {"use_input_stats": True, "momentum": 0.3, "eps": eps}
                        yield "instance_norm", shape, given, affine, running
                yield "batch_norm", shape, {"training": False, "eps": eps}, affine, True
                if spatial > 1:
                    given = {"use_input_stats": False, "eps": eps}
                    yield "instance_norm", shape, given, affine, True


@over("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_normalizations_of_channels(dtype):
    """Values, gradients and running statistics are torch's."""
    torch.manual_seed(0)
    for name, shape, kwargs, has_weights, has_running in _channel_calls():
        x, g = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
        weights = [torch.randn(6, dtype=dtype) for _ in range(2)] if has_weights else []
        running = [torch.randn(6, dtype=dtype), torch.rand(6, dtype=dtype)] if has_running else []
        found = []
        for function in (getattr(dropin, name), getattr(F, name)):
            leaves = [v.clone().requires_grad_() for v in (x, *weights)]
            stats = [v.clone() for v in running] or [None, None]
            named = dict(zip(("weight", "bias"), leaves[1:], strict=False))
            if name != "group_norm":
                named |= {"running_mean": stats[0], "running_var": stats[1]}
            y = function(leaves[0], **kwargs, **named)
            found.append(
                [y.detach(), *torch.autograd.grad(y, leaves, g), *filter(_is_given, stats)]
            )
        message = f"{name} {shape} {kwargs} {has_weights} {has_running}"
        tolerances = {"rtol": 2.0**-5, "atol": 2.0**-5} if dtype == torch.bfloat16 else {}
        tolerances = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else tolerances
        torch.testing.assert_close(*found, **tolerances, msg=lambda m, c=message: f"{c}\n{m}")


@over("training", [True, False])
@over("name", ["batch_norm", "instance_norm"])
def test_statistics_in_float32_of_bfloat16(name, training):
    """The result has the dtype of x and is rounded once; weights may have further axes."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, dtype=torch.bfloat16)
    flag = "training" if name == "batch_norm" else "use_input_stats"
    results = []
    for function in (getattr(dropin, name), getattr(F, name)):
        torch.manual_seed(1)
        mean, variance, weight, bias = torch.rand(4, 3)
        y = function(x, mean, variance, weight, bias, **{flag: training})
        assert y.dtype == x.dtype
        results.append([y, mean, variance])
    torch.testing.assert_close(*results, rtol=2.0**-7, atol=2.0**-8)
    if name == "batch_norm":
        shaped = dropin.batch_norm(x, mean, variance, weight[:, None], bias[None, :, None])
        assert torch.equal(shaped, dropin.batch_norm(x, mean, variance, weight, bias))


@over("name", ["dropout1d", "dropout2d", "dropout3d"])
def test_seeds_of_dropout_of_channels(name):
    x = torch.ones((3, 4, 2, 2, 2)[: int(name[-2]) + 2])
    results = []
    for function in (getattr(dropin, name), getattr(F, name)):
        torch.manual_seed(0)
        results.append(function(x, 0.3))
    torch.testing.assert_close(*results)


def _is_given(value):
    return value is not None


@over(("name", "shapes"), {"dropout1d": [(6, 4), (3, 6, 4)], "dropout2d": [(3, 6, 4, 2)]}.items())
def test_dropout_of_channels(name, shapes):
    """A channel is dropped as a whole, about half of them are, and the rest is doubled."""
    torch.manual_seed(0)
    function = getattr(dropin, name)
    for shape in (*shapes, *([(3, 5, 4, 2, 2), (50, 40, 2, 1, 2)] if name == "dropout2d" else [])):
        function = dropin.dropout3d if len(shape) == 5 else function
        x = torch.ones(shape, requires_grad=True)
        y = function(x)
        channels = y.reshape(*shape[: 1 if len(shape) == 2 else 2], -1)
        assert (channels == channels[..., :1]).all()
        assert set(channels.unique().tolist()) <= {0.0, 2.0}
        (gradient,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(gradient, y.detach())
        assert function(x, training=False) is x
        z = torch.ones(shape)
        assert function(z, 0.9, inplace=True) is z
    assert name == "dropout1d" or abs(channels.mean() - 1) < 0.1


def test_errors_of_functions_of_channels():
    x = torch.ones(2, 6, 3)
    for call, words in (
        (lambda: dropin.group_norm(x, 4), "num_groups must divide 6 channels, got 4"),
        (lambda: dropin.group_norm(x, 2, torch.ones(5)), r"weight must have shape \(6,\)"),
        (lambda: dropin.group_norm(torch.ones(6), 2), "with 2 dimensions at least"),
        (lambda: dropin.batch_norm(x, None, None), "running_mean and running_var must be given"),
        (lambda: dropin.batch_norm(torch.ones(1, 6), None, None, training=True), "more than 1"),
        (lambda: dropin.instance_norm(torch.ones(2, 6)), "more than 1 value"),
        (lambda: dropin.dropout1d(torch.ones(3)), "2 or 3 dimensions"),
        (lambda: dropin.dropout1d(x, 1.5), "requires 0 <= p <= 1"),
    ):
        with pytest.raises(dropin.BadValueError, match=words):
            call()


@over(("name", "ndims"), [("dropout2d", (1, 2, 3, 5)), ("dropout3d", (2, 3))])
def test_dropout_of_unusual_dimensions_warns(name, ndims):
    for ndim in ndims:
        x = torch.ones((2, 3, 4, 5, 6)[:ndim])
        with pytest.warns(UserWarning, match=f"^{name} (takes|of)") as caught:
            got = outcome(getattr(dropin, name), x)
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match=name):
            expected = outcome(getattr(F, name), x)
        assert isinstance(got, Exception) == isinstance(expected, Exception)


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


@over("name", sorted(functions_with("out")))
def test_out_of_another_shape_is_resized(name):
    """Its storage grows with a warning, which torch spares an empty tensor."""
    x = torch.linspace(0.05, 0.95, 8, dtype=torch.float64).reshape(2, 4)
    values = given(name, torch.float64, dim=1)
    expected = PUBLIC[name](x, **values)
    out = torch.empty(0, dtype=torch.float64)
    assert PUBLIC[name](x, **values, out=out) is out
    assert torch.equal(out, expected)
    out = torch.zeros((3, 5), dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"^\w+: out of shape \(3, 5\) was resized") as caught:
        assert PUBLIC[name](x, **values, out=out) is out
    assert caught[0].filename == __file__
    assert torch.equal(out, expected)


def test_complex_out():
    """It holds any result, and a complex result fits into no other."""
    for x in (torch.linspace(0.1, 0.9, 4), torch.linspace(0.1, 0.9, 4) * (1 + 1j)):
        out = torch.empty(0, dtype=torch.complex64)
        assert dropin.sigmoid(x).shape == dropin.expit(x, out=out).shape
        torch.testing.assert_close(out, torch.sigmoid(x).to(out.dtype))
    with pytest.raises(TypeError, match=r"^sigmoid: out needs an array of a complex dtype"):
        dropin.expit(x, out=torch.empty(4))


BAD_OUTS = {
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

ODD = [
    *("a", None, [], (0, 0), 5, -5, 1.5, -1.5, 0, -0.0, -1, True, object()),
    *(math.inf, -math.inf, math.nan, np.int64(1), np.float32(0.25), np.bool_(True)),
    *(torch.tensor(0.25), torch.tensor(1)),
]
UNTRIED = {"other", "out", "inplace", "_stacklevel"}
"""These have tests of their own."""

NARROWER = {"gumbel_softmax", "logit"}
"""These refuse values that torch takes: a `tau` of 0 or less, and an `eps` over 0.5."""


@pytest.mark.filterwarnings("ignore:Implicit dimension choice", "ignore:.*(eps|dropout)")
@over(
    ("name", "parameter"),
    [
        (name, p.name)
        for name in sorted({*PUBLIC, *CHANNELS})
        for p in parameters(name)
        if p.name not in UNTRIED
    ],
)
def test_odd_parameters_give_or_raise_what_torch_does(name, parameter):
    x = torch.linspace(0.05, 2, 24).reshape(2, 3, 4)
    if name == "one_hot":
        x = x.to(torch.int64)
    wrong = []
    for value in ODD:
        values = given(name) | ({"training": True} if "batch_norm" in name else {})
        values |= {parameter: value}
        torch.manual_seed(0)
        got = outcome(getattr(dropin, name), x.clone(), **values)
        torch.manual_seed(0)
        expected = outcome(theirs(name), x.clone(), **values)
        if not _is_same_outcome(name, value, got, expected):
            wrong.append(f"{value!r} {got!r} {expected!r}")
    assert not wrong, "\n".join(wrong)


def _is_same_outcome(name, value, got, expected):
    """Return whether the outcome is torch's, or another where torch raises or has NaN."""
    if isinstance(expected, Exception):
        kinds = (type(expected), *([TypeError] if isinstance(value, str) else []))
        kinds = (TypeError, ValueError) if ZeroDivisionError in kinds else kinds
        return not isinstance(got, Exception) or (
            isinstance(got, kinds) and re.match(r"\w+: ", str(got))
        )
    if isinstance(got, Exception):
        return name in NARROWER or expected.isnan().all()
    assert got.dtype == expected.dtype
    known = ~expected.isnan()
    return name == "gumbel_softmax" or torch.allclose(got[known], expected[known], 1e-5, 1e-6)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@over("name", sorted({*PUBLIC, *CHANNELS}))
def test_lists_raise(name):
    with pytest.raises(
        (TypeError, dropin.BadValueError), match=r"^\w+: (x|input) must be an array"
    ):
        getattr(dropin, name)([1.0, 2.0, 3.0, 4.0], **given(name, num_classes=4))


@over("ndim", range(5))
@over("name", ["softmax", "log_softmax"])
def test_implicit_dim_warns(name, ndim):
    x = torch.randn((2, 3, 4, 5)[:ndim])
    with pytest.warns(UserWarning, match=f"Implicit dimension choice for {name}") as caught:
        got = PUBLIC[name](x)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=re.escape(str(caught[0].message))):
        torch.testing.assert_close(got, theirs(name)(x))


INFINITE = torch.tensor([[math.inf, 1.0, -2.0], [-math.inf, math.inf, 0.0], [1.0, 2.0, 3.0]])


@over("order", [2.0, 1.0, 3.0, 0.5, 0.0, -1.0, math.inf, -math.inf])
def test_infinite_elements_of_normalize(order):
    """They are NaN, or infinite, and the others of their row as torch has them."""
    ours, theirs = (f.normalize(INFINITE, order, -1) for f in (dropin, F))
    torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_infinite_elements_of_rms_norm():
    ours, theirs = (f.rms_norm(INFINITE, [3], eps=1e-3) for f in (dropin, F))
    torch.testing.assert_close(ours, theirs, equal_nan=True)


@over(("name", "numbers"), [("threshold", (math.inf, 0)), ("hardtanh", (-1.0, 1e30))])
def test_numbers_that_integers_do_not_hold(name, numbers):
    x = torch.arange(4)
    with pytest.raises(RuntimeError):
        getattr(F, name)(x, *numbers)
    with pytest.raises(ValueError, match=r"takes numbers that torch.int64 holds, .* got "):
        getattr(dropin, name)(x, *numbers)


def test_running_statistics_of_booleans():
    x = torch.tensor([[[True, False], [True, True]]])
    mean = torch.zeros(2)
    y = dropin.instance_norm(x, mean, momentum=1.0)
    torch.testing.assert_close(mean, torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(y, dropin.instance_norm(x.float()))
