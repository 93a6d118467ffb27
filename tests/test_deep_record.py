"""Activations of networks by hooks: what is recorded is what the layers give out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fastcca.deep import record  # noqa: E402
from fastcca.similarity import compare, linear_cka  # noqa: E402


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3),
        torch.nn.ReLU(inplace=True),
        torch.nn.Flatten(),
        torch.nn.Linear(48, 6),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(6, 2),
    )


def outputs(network, images):
    """By hand, layer after layer, in evaluation mode."""
    network.eval()
    found, x = [], images
    with torch.no_grad():
        for layer in network:
            x = layer(x.clone())
            found.append(x.clone().double().numpy())
    return found


def test_it_records_what_the_layers_give_out(network):
    images = torch.randn(50, 1, 6, 6)
    expected = outputs(network, images)
    network.train()
    batches = [(images[i : i + 10], torch.zeros(10)) for i in range(0, 50, 10)]
    activations = record(network, ["0", "3", "6"], batches)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert activations.names == ("0", "3", "6")
    assert activations.n == 50
    assert activations.moments.dims == (3, 6, 2)
    pooled = [expected[0].reshape(50, 3, -1).mean(axis=2), expected[3], expected[6]]
    for debiased in (False, True):
        found = compare(activations, "debiased_cka" if debiased else "cka").values
        for i in range(3):
            for j in range(3):
                value = linear_cka(pooled[i], pooled[j], debiased=debiased)
                assert found[i, j] == pytest.approx(value, abs=1e-5)
    flat = record(network, ["0", "6"], batches, reduce="flatten")
    np.testing.assert_allclose(flat.moments.mean[:48], expected[0].reshape(50, -1).mean(axis=0), atol=1e-6)
    first = record(network, ["0", "6"], batches, reduce=lambda x: x.flatten(1)[:, :2])
    assert first.moments.dims == (2, 2)


def test_two_networks_are_compared_with_one_another(network):
    images = torch.randn(40, 1, 6, 6)
    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 5))
    activations = record({"a": network, "b": other}, {"a": ["3"], "b": ["1"]}, [images], groups=0)
    assert activations.names == ("a.3", "b.1")
    expected = linear_cka(outputs(network, images)[3], outputs(other, images)[1])
    assert compare(activations).between(["a.3"], ["b.1"])[0, 0] == pytest.approx(expected, abs=1e-5)


def test_bad_calls(network):
    images = torch.randn(10, 1, 6, 6)
    with pytest.raises(ValueError, match="has no module 'head': there are 0, 1, 2"):
        record(network, ["head"], [images])
    with pytest.raises(ValueError, match="at least one module"):
        record(network, [], [images])
    with pytest.raises(ValueError, match="layer '0' is named twice"):
        record(network, ["0", "0"], [images])
    with pytest.raises(ValueError, match="the loader gave no batch"):
        record(network, ["0"], [])
    with pytest.raises(ValueError, match="reduce must be"):
        record(network, ["0"], [images], reduce="sum")
    with pytest.raises(ValueError, match="layers must name those of each network"):
        record({"a": network}, ["0"], [images])

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
            self.twice, self.pair = torch.nn.Linear(3, 3), Pair()

        def forward(self, x):
            return self.pair(self.twice(self.twice(self.used(x))))[0]

    class Pair(torch.nn.Module):
        def forward(self, x):
            return x, x

    odd, rows = Odd(), torch.randn(10, 4)
    with pytest.raises(ValueError, match="layer 'unused' was not reached"):
        record(odd, ["used", "unused"], [rows])
    with pytest.raises(ValueError, match="layer 'twice' runs twice"):
        record(odd, ["twice"], [rows])
    with pytest.raises(TypeError, match="output of layer 'pair' must be a tensor, got tuple"):
        record(odd, ["pair"], [rows])
    assert not any(module._forward_hooks for module in odd.modules())
