"""Training: what fits between layers, gradients, and the same losses on every library."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from oracle import CASES, FUNCTIONS, is_first_of_family, noting

import activations_xp as ax
from activations_xp.experiments import compare, training
from activations_xp.experiments.candidates import candidates_of
from activations_xp.experiments.data import load
from activations_xp.experiments.libraries import library_of
from activations_xp.experiments.measures import measure_layers
from activations_xp.experiments.network import Convolution
from activations_xp.layers import numpy as layers

REFUSED = {
    "adaptive_log_prob": "several arrays",
    "adaptive_log_softmax_with_loss": "several arrays",
    "adaptive_predict": "several arrays",
    "attention_with_lse": "several arrays",
    "erfinv": "from -1 to 1",
    "log1mexp": "from 0 to inf",
    "logaddexp": "a second array",
    "logit": "from 0 to 1",
    "logmeanexp": "does not return 6 numbers",
    "logsumexp": "does not return 6 numbers",
    "merge_attention": "several arrays",
    "multi_head_attention": "several arrays",
    "multi_hot": "needs num_classes",
    "ndtri": "from 0 to 1",
    "one_hot": "needs num_classes",
    "scaled_dot_product_attention": "several arrays",
}
FIRST = {case.function.__name__ for case in CASES if is_first_of_family(case)}
TRAINED = [
    pytest.param(name, marks=[] if name in FIRST else [pytest.mark.sweep_with("jax")])
    for name in ax.names()
    if name not in REFUSED
]
IMAGES = (
    np.random.default_rng(3).normal(size=(40, 4, 5, 2)) + np.arange(40)[:, None, None, None] % 2,
    np.arange(40) % 2,
)


@functools.cache
def steps(name, backend, **settings):
    """Return the record of 20 steps of a small network, each of which is an epoch."""
    settings = {"data": "wine", "depth": 2, "width": 6, "lr": 0.05, "epochs": 20, **settings}
    if settings["data"] == "images":
        settings["data"] = IMAGES
    results = compare([name], backend=backend, dtype="float64", batch_size=200, seeds=1, **settings)
    (run,) = results.runs
    return run


def assert_same_steps(name, library, **settings):
    got, expected = (steps(name, which, **settings) for which in (library, "numpy"))
    assert len(got["train_loss"]) == len(expected["train_loss"])
    for curve in ("train_loss", "validation_loss"):
        close(got[curve], expected[curve], 1e-10)
    for moment in ("start", "end"):
        for what, values in expected[moment].items():
            with noting((moment, what)):
                # a variance is as large as it is where a network diverges
                close(got[moment][what], values, 1e-8, rtol=1e-8)


def close(got, expected, atol, rtol=0):
    """Compare lists of numbers, of which those that are not finite are None."""
    got, expected = (np.array(a, dtype=float) for a in (got, expected))
    np.testing.assert_allclose(got, expected, atol=atol, rtol=rtol)


@pytest.mark.float64
@pytest.mark.compiled
@pytest.mark.libraries("torch", "jax")
@pytest.mark.parametrize("name", TRAINED)
def test_all_libraries_take_the_same_steps(name, backend):
    assert_same_steps(name, backend.library)
    assert len(steps(name, "numpy")["train_loss"]) == 20 or name == "soft_exponential"


@pytest.mark.float64
@pytest.mark.compiled
@pytest.mark.libraries("torch", "jax")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("selu", {"dropout": 0.1, "optimizer": "adam", "lr": 0.01}),
        ("gelu", {"dropout": 0.3, "init": "uniform"}),
        ("swiglu", {"network": "conv", "data": "images", "lr": 0.01}),
        ("maxout", {"network": "conv", "data": "images", "lr": 0.01, "pieces": 3}),
        ("silu:beta", {"depth": 5, "init": "he_normal"}),
    ],
)
def test_all_libraries_take_the_same_steps_with_settings(name, settings, backend):
    assert_same_steps(name, backend.library, **settings)


@pytest.mark.libraries("torch")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_as_torch_trains(optimizer, backend):
    """The losses are those of torch's own layers and optimizers from the same weights."""
    import torch

    settings = training.Settings(width=6, backend="torch", dtype="float64", optimizer=optimizer)
    data = load("wine")
    (candidate,) = candidates_of(["relu"])
    network = training.network_of(candidate, 2, settings, data)
    first = network.initial(0, ax.gain("relu"), np.float64)
    parts = []
    for layer in [*network.hidden, network.last]:
        linear = torch.nn.Linear(layer.n_in, layer.n_out, dtype=torch.float64)
        linear.weight.data = torch.tensor(first[f"{layer.name}.weight"].T)
        linear.bias.data.zero_()
        parts += [linear, torch.nn.ReLU()]
    module = torch.nn.Sequential(*parts[:-1])
    lr = 0.05 if optimizer == "sgd" else 0.01
    step = (
        torch.optim.SGD(module.parameters(), lr, momentum=0.9)
        if optimizer == "sgd"
        else torch.optim.Adam(module.parameters(), lr)
    )
    x, one_hot = map(torch.tensor, data.split(0, np.float64).train)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(module(x), one_hot)
        losses.append(loss.item())
        step.zero_grad()
        loss.backward()
        step.step()
    got = steps("relu", "torch", optimizer=optimizer, lr=lr)["train_loss"]
    np.testing.assert_allclose(got, losses, atol=1e-10, rtol=0)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("srelu", {}),
        ("rational", {"dropout": 0.2}),
        ("selu", {"dropout": 0.2}),
        ("swiglu", {"network": "conv"}),
        ("crelu", {"network": "conv", "dropout": 0.2}),
        ("rrelu", {"network": "conv"}),
    ],
)
def test_gradients_beside_differences(name, settings):
    data = load(IMAGES)
    settings = training.Settings(width=6, dtype="float64", **settings)
    (candidate,) = candidates_of([name])
    network = training.network_of(candidate, 2, settings, data)
    rng = np.random.default_rng(5)
    x, one_hot = data.split(0, np.float64).train
    params = network.initial(0, 1.0, np.float64)
    noise = network.sample_noise(rng, len(x), np.float64)
    loss, gradients = network.loss_and_gradients(params, x, one_hot, noise)
    assert loss == network.loss(params, x, one_hot, noise)
    assert gradients.keys() == params.keys()
    for key, gradient in gradients.items():
        direction, h = rng.normal(size=gradient.shape), 1e-6
        high, low = (
            network.loss({**params, key: params[key] + s * direction}, x, one_hot, noise)
            for s in (h, -h)
        )
        with noting(key):
            rise = (high - low) / (2 * h)
            np.testing.assert_allclose(np.sum(gradient * direction), rise, rtol=1e-6, atol=1e-8)


@pytest.mark.once
def test_convolution_beside_scipy():
    from scipy.signal import correlate2d

    x = IMAGES[0][:3]
    rng = np.random.default_rng(0)
    layer = Convolution("0", 18, 4)
    params = {"0.weight": rng.normal(size=(18, 4)), "0.bias": rng.normal(size=4)}
    got = layer.forward(params, x)
    kernel = params["0.weight"].reshape(3, 3, 2, 4)
    for n in range(3):
        for out in range(4):
            parts = [correlate2d(x[n, ..., c], kernel[..., c, out], mode="same") for c in range(2)]
            np.testing.assert_allclose(got[n, ..., out], sum(parts) + params["0.bias"][out])


@pytest.mark.once
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    with pytest.raises(ValueError, match=f"compare: {name} does not fit.*{REFUSED[name]}"):
        compare([name], data="wine", width=6)


@pytest.mark.once
def test_every_other_function_fits_and_learns():
    """A layer returns its width, and weights before the function have gradients."""
    data = load("wine")
    names = [f.__name__ for f in FUNCTIONS if f.__name__ not in REFUSED]
    settings = training.Settings(width=6, dtype="float64")
    for candidate in candidates_of(names):
        with noting(candidate.label):
            network = training.network_of(candidate, 2, settings, data)
            expected = {"maxout": 12, "crelu": 3}.get(candidate.label, 6)
            gates = "gate" in candidate.function.definition.parameters
            assert network.size == (12 if gates else expected)
            params = network.initial(0, 1.0, np.float64)
            x, one_hot = data.split(0, np.float64).train
            noise = network.sample_noise(np.random.default_rng(0), len(x), np.float64)
            _, gradients = network.loss_and_gradients(params, x, one_hot, noise)
            assert gradients["0.weight"].any() != (candidate.label == "step")


@pytest.mark.once
def test_names_with_parameters():
    given = ["silu:beta", "leaky_relu:negative_slope=0.2", "swish", "prelu", "rational"]
    a, b, c, d, e = candidates_of(given)
    assert (a.label, a.constants, a.learned) == ("silu:beta", {}, {"beta": 1.0})
    assert (b.constants, b.learned) == ({"negative_slope": 0.2}, {})
    assert (c.label, c.function, c.learned) == ("swish", ax.silu, {})
    assert d.learned == {"weight": 0.25}
    assert len(e.learned["numerator"]) == 6
    partial = functools.partial(ax.leaky_relu, negative_slope=0.2)
    assert candidates_of([partial])[0].constants == {"negative_slope": 0.2}
    assert candidates_of([partial])[0].label == "leaky_relu:negative_slope=0.2"
    (own,) = candidates_of([functools.partial(Cube(), power=2)])
    assert (own.label, own.constants) == ("cube:power=2", {"power": 2})
    assert candidates_of(["relu:max_value=6.0:max_value"])[0].learned == {"max_value": 6.0}
    (f,) = candidates_of({"mine": layers.Swish(beta=2.0)})
    assert (f.label, f.learned) == ("mine", {"beta": 2.0})
    assert (a == f, a == candidates_of({"x": "silu:beta"})[0]) == (False, True)


@pytest.mark.once
@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (layers.PReLU(), [1, 1]),
        (layers.PReLU(6, axis=1), [6, 6]),
        (layers.Activation("silu", learned=["beta"]), [1, 1]),
        (layers.Maxout(6), []),
        (layers.AlphaDropout(0.1), []),
    ],
    ids=repr,
)
def test_layers_as_functions(layer, sizes):
    settings = {"lr": 0.05, "seeds": 1, "depth": 2, "width": 6, "epochs": 2}
    for data in ({"data": "wine"}, {"data": IMAGES, "network": "conv"}):
        (run,) = compare([layer], **settings, **data).runs
        assert run["function"] == repr(layer)
        assert list(map(len, run["learned"].values())) == sizes


@pytest.mark.once
def test_learned_parameters_are_trained():
    settings = {"data": "wine", "lr": 0.1, "seeds": 1, "depth": 2, "dtype": "float64"}
    (run,) = compare(["silu:beta"], **settings).runs
    assert run["learned"].keys() == {"0.function.beta", "1.function.beta"}
    assert all(0.01 < abs(value - 1.0) < 3 for (value,) in run["learned"].values())
    (other,) = compare(["silu"], **settings).runs
    assert other["learned"] == {}
    close(other["start"]["gradient"], run["start"]["gradient"], 1e-12)
    assert np.max(np.abs(np.subtract(other["end"]["gradient"], run["end"]["gradient"]))) > 1e-6


class Cube:
    """A function of a user's own, with the vjp that NumPy needs."""

    __name__ = "cube"

    def __call__(self, x):
        return x * x * x

    def vjp(self, g, x):
        return {"x": 3 * g * x * x}


@pytest.mark.once
def test_own_function():
    results = compare([Cube(), "identity"], data="wine", lr=0.01, seeds=1, depth=1, epochs=5)
    assert results.functions == ["cube", "identity"]
    first, last = (results.runs[0]["train_loss"][i] for i in (0, -1))
    assert last < first
    with pytest.raises(ValueError, match="square has no vjp, by which NumPy trains"):
        compare({"square": lambda x: x * x}, data="wine")


@pytest.mark.libraries("torch")
def test_own_function_without_vjp(backend):
    import torch

    ours, theirs = compare(
        {"ours": ax.silu, "theirs": torch.nn.functional.silu},
        data="wine",
        backend="torch",
        dtype="float64",
        seeds=1,
        lr=0.05,
        init="lecun_normal",
    ).runs
    np.testing.assert_allclose(ours["train_loss"], theirs["train_loss"], atol=1e-10)
    close(ours["end"]["dead"], theirs["end"]["dead"], 1e-10)


# what is measured


def measured(name, depth, change, **settings):
    """Return what is measured of a network whose first parameters a function has changed."""
    data = load("digits")
    settings = training.Settings(dtype="float64", **{"width": 64, **settings})
    (candidate,) = candidates_of([name])
    network = training.network_of(candidate, depth, settings, data)
    params = network.initial(0, candidate.gain(network.size, None), np.float64)
    change(params)
    examples = data.split(0, np.float64).validation
    return measure_layers(library_of("numpy"), network, params, *examples)


@pytest.mark.once
def test_dead_and_saturated_units_by_hand():
    def change(params):
        params["0.bias"][:16] = -1e4  # never active
        params["0.bias"][16:32] = 1e4  # always active

    found = measured("relu", 2, change)
    assert found["dead"][0] == pytest.approx(0.25, abs=0.02)
    assert 0.25 < found["saturated"][0] < 0.75 - 0.1
    found = measured("sigmoid", 2, change)  # flat at both ends
    assert found["dead"][0] == 0.5
    assert found["saturated"][0] == pytest.approx(0.5, abs=0.01)
    assert measured("identity", 2, change)["saturated"] == [0.0, 0.0]


@pytest.mark.once
def test_mean_variance_and_gradient_by_hand():
    found = measured("identity", 2, lambda params: None)
    data = load("digits").split(0, np.float64)
    network = training.network_of(
        candidates_of(["identity"])[0],
        2,
        training.Settings(width=64, dtype="float64"),
        load("digits"),
    )
    w = network.initial(0, 1.0, np.float64)
    x, one_hot = data.validation
    y = x.reshape(len(x), -1) @ w["0.weight"]
    z = y @ w["1.weight"]
    np.testing.assert_allclose(found["mean"], [y.mean(), z.mean()])
    np.testing.assert_allclose(found["variance"], [y.var(), z.var()])
    g = (ax.softmax(z @ w["last.weight"]) - one_hot) @ w["last.weight"].T / len(x)
    norms = [
        np.linalg.norm(x.reshape(len(x), -1).T @ (g @ w["1.weight"].T)),
        np.linalg.norm(y.T @ g),
    ]
    np.testing.assert_allclose(found["gradient"], norms)


@pytest.mark.once
def test_selu_normalizes_itself():
    """Over 50 layers mean and variance stay near 0 and 1 with weights of lecun_normal alone."""
    found = measured("selu", 50, lambda params: None, width=256)
    assert max(map(abs, found["mean"][5:])) < 0.15
    assert all(0.6 < v < 1.4 for v in found["variance"][5:])

    def uniform(params):
        rng = np.random.default_rng(0)
        for name, p in params.items():
            if name.endswith("weight"):
                bound = 1 / math.sqrt(len(p))
                params[name] = rng.uniform(-bound, bound, p.shape)

    assert measured("selu", 50, uniform, width=256)["variance"][-1] < 0.01


@pytest.mark.once
def test_gradients_of_sigmoid_vanish():
    found = measured("sigmoid", 16, lambda params: None)["gradient"]
    assert found[0] < 1e-4 * found[-1]
    found = measured("relu", 16, lambda params: None)["gradient"]
    assert 0.1 < found[0] / found[-1] < 10


# known truths


@pytest.mark.once
def test_sigmoid_is_worse_than_relu_at_depth_16():
    results = compare(["relu", "sigmoid"], depth=16, lr=0.003, epochs=4, seeds=3)
    _, sigmoid = results.summary()
    assert sigmoid.p_holm < 0.01
    assert sigmoid.difference.high < -0.3


@pytest.mark.once
def test_relus_die_at_a_learning_rate_of_1():
    results = compare(["relu"], lr=[0.01, 1.0], epochs=3, seeds=2)
    dead = {run["lr"]: run["end"]["dead"] for run in results.runs}
    assert max(dead[0.01]) < 0.1
    assert max(v for v in dead[1.0] if v is not None) > 0.5
