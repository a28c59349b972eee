"""The networks of the benchmark, by name. Architectures are re-typed from their papers; sizes are in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from examples.mapping import measured
from examples.mapping.builder import Builder, Terms
from spikeloom.compiler.mapping.network import Network


@dataclass(frozen=True)
class Workload:
    """A network and the messages that a neuron of each population sends a step.

    Attributes:
        network: populations and projections.
        rates: by population.
        measured: share of the neurons on cores whose rate comes from a run of a trained network.
    """

    network: Network
    rates: Mapping[str, float]
    measured: float = 0.0

    @property
    def neurons(self) -> int:
        """Neurons that occupy cores."""
        return sum(population.size for population in self.network.placed)


def spikformer(
    blocks: int, dim: int, image: int, pools: tuple[bool, ...], bits: int = 8, window: int = 0
) -> Workload:
    """Spikformer (Zhou et al., ICLR 2023): a stem of convolutions, residuals of spikes, q (k^T v).

    Residual sums are not populations: each layer reads every earlier branch, as our lowering makes it.
    With a ``window``, tokens attend within squares of that side.
    """
    net = Builder(f"spikformer-{blocks}-{dim}-{image}", (3, image, image), bits)
    x = net.start
    stages = len(pools)
    for stage, pooled in enumerate(pools):
        x = net.neurons(f"stem{stage}", net.conv(x, dim >> (stages - 1 - stage)))
        if pooled:
            x = net.max_pool(f"stem{stage}.pool", x, 3, 2, 1)
    x = x + net.neurons("rpe", net.conv(x, dim))
    heads = dim // (32 if dim < 512 else 64)
    for block in range(blocks):
        x = _attention_block(net, f"b{block}", x, dim, heads, window=window)
    return _with_measured(net.readout("head", net.classify(x, 1000 if image > 64 else 10)), net.rates)


def _with_measured(network: Network, drawn: Mapping[str, float]) -> Workload:
    """Rates that a trained Spikformer showed in layers of the same role; drawn ones for pools and the head.

    Accumulators of attention keep the assumed rate of theirs.
    """
    by_role = measured.read()
    rates = {
        name: by_role.get(name.split(".", 1)[-1] if name[0] == "b" else name, r) for name, r in drawn.items()
    }
    known = sum(one.size for one in network.placed if rates[one.name] != drawn[one.name])
    return Workload(network, rates, known / sum(one.size for one in network.placed))


def _attention_block(
    net: Builder, name: str, x: Terms, dim: int, heads: int, ratio: int = 4, window: int = 0
) -> Terms:
    q, k, v = (net.neurons(f"{name}.{part}", net.pointwise(x, dim)) for part in "qkv")
    attended = net.linear_attention(name, q, k, v, heads, window)
    x = x + net.neurons(f"{name}.proj", net.pointwise(attended, dim))
    hidden = net.neurons(f"{name}.fc1", net.pointwise(x, ratio * dim))
    return x + net.neurons(f"{name}.fc2", net.pointwise(hidden, dim))


def spike_driven_v2(image: int = 224, bits: int = 8) -> Workload:
    """Spike-driven Transformer V2 (Yao et al., ICLR 2024), 15 M: separable convolutions, then attention.

    Residuals add membranes there; each sum is an accumulator population that relays it.
    """
    net = Builder(f"sdt-v2-{image}", (3, image, image), bits)
    x = net.neurons("down1", net.conv(net.start, 32, 7, 2))
    x = _conv_block(net, "c1", x, 32)
    x = net.neurons("down1b", net.conv(x, 64, 3, 2))
    x = _conv_block(net, "c2", x, 64)
    x = net.neurons("down2", net.conv(x, 128, 3, 2))
    for block in range(2):
        x = _conv_block(net, f"c3.{block}", x, 128)
    x = net.neurons("down3", net.conv(x, 256, 3, 2))
    for block in range(6):
        x = _relayed_attention(net, f"t1.{block}", x, 256)
    x = net.neurons("down4", net.conv(x, 360, 3, 1))
    for block in range(2):
        x = _relayed_attention(net, f"t2.{block}", x, 360)
    return Workload(net.readout("head", net.classify(x, 1000)), net.rates)


def _relay(net: Builder, name: str, x: Terms) -> Terms:
    return net.neurons(name, x)


def _conv_block(net: Builder, name: str, x: Terms, dim: int) -> Terms:
    wide = net.neurons(f"{name}.pw1", net.pointwise(x, 2 * dim))
    deep = net.neurons(f"{name}.dw", net.conv(wide, 2 * dim, 7, groups=2 * dim))
    x = _relay(net, f"{name}.add1", x + net.pointwise(deep, dim))
    hidden = net.neurons(f"{name}.conv1", net.conv(x, 4 * dim))
    return _relay(net, f"{name}.add2", x + net.conv(hidden, dim))


def _relayed_attention(net: Builder, name: str, x: Terms, dim: int) -> Terms:
    q, k, v = (net.neurons(f"{name}.{part}", net.pointwise(x, dim)) for part in "qkv")
    attended = net.linear_attention(name, q, k, v, 8)
    x = _relay(net, f"{name}.add1", x + net.pointwise(attended, dim))
    hidden = net.neurons(f"{name}.fc1", net.pointwise(x, 4 * dim))
    return _relay(net, f"{name}.add2", x + net.pointwise(hidden, dim))


def qsd(image: int = 224, bits: int = 4) -> Workload:
    """QSD-Transformer (Qiu et al., ICLR 2025): SDT-V2's shape with weights of 4 bits."""
    load = spike_driven_v2(image, bits)
    network = load.network
    return Workload(
        Network(f"qsd-{image}", network.populations, network.projections, network.kernels, network.outputs),
        load.rates,
    )


def max_former(image: int = 32, dim: int = 384, bits: int = 8) -> Workload:
    """Max-Former for small images (Fang et al., 2025): max pools in the embedding, depthwise convolutions
    in the first stage, attention in the last."""
    net = Builder(f"max-former-{dim}-{image}", (3, image, image), bits)
    x = net.neurons("embed1", net.conv(net.start, dim // 4))
    x = net.max_pool("embed1.pool", x, 3, 2, 1)
    for block in range(2):
        x = _depthwise_block(net, f"s1.{block}", x, dim // 4)
    x = net.max_pool("embed2.pool", net.neurons("embed2", net.conv(x, dim // 2)), 3, 2, 1)
    for block in range(2):
        x = _depthwise_block(net, f"s2.{block}", x, dim // 2)
    x = net.neurons("embed3", net.conv(x, dim))
    for block in range(2):
        x = _attention_block(net, f"s3.{block}", x, dim, dim // 32)
    return Workload(net.readout("head", net.classify(x, 10)), net.rates)


def _depthwise_block(net: Builder, name: str, x: Terms, dim: int) -> Terms:
    x = x + net.neurons(f"{name}.dw", net.conv(x, dim, 3, groups=dim))
    hidden = net.neurons(f"{name}.fc1", net.pointwise(x, 4 * dim))
    return x + net.neurons(f"{name}.fc2", net.pointwise(hidden, dim))


def lenet(bits: int = 8) -> Workload:
    """LeNet-5 for 32 x 32 x 3."""
    net = Builder("lenet", (3, 32, 32), bits)
    x = net.neurons("conv1", net.conv(net.start, 6, 5))
    x = net.neurons("conv2", net.conv(net.max_pool("pool1", x, 2, 2, 0), 16, 5))
    x = net.neurons("fc1", net.dense(net.max_pool("pool2", x, 2, 2, 0), 120))
    x = net.neurons("fc2", net.dense(x, 84))
    return Workload(net.readout("out", net.dense(x, 10)), net.rates)


def vgg11(image: int = 32, bits: int = 8) -> Workload:
    """VGG-11 with one dense layer of 4,096 for small images."""
    net = Builder(f"vgg11-{image}", (3, image, image), bits)
    x = net.start
    for stage, layers in enumerate(((64,), (128,), (256, 256), (512, 512), (512, 512))):
        for number, channels in enumerate(layers):
            x = net.neurons(f"conv{stage}.{number}", net.conv(x, channels))
        x = net.max_pool(f"pool{stage}", x, 2, 2, 0)
    x = net.neurons("fc1", net.dense(x, 4096))
    x = net.neurons("fc2", net.dense(x, 4096))
    return Workload(net.readout("out", net.dense(x, 10)), net.rates)


def alexnet(image: int = 32, bits: int = 8) -> Workload:
    """AlexNet as it is used for small images: five convolutions and three dense layers."""
    net = Builder(f"alexnet-{image}", (3, image, image), bits)
    x = net.neurons("conv1", net.conv(net.start, 64, 3, 2))
    x = net.max_pool("pool1", x, 2, 2, 0)
    x = net.max_pool("pool2", net.neurons("conv2", net.conv(x, 192)), 2, 2, 0)
    for number, channels in enumerate((384, 256, 256)):
        x = net.neurons(f"conv{3 + number}", net.conv(x, channels))
    x = net.max_pool("pool5", x, 2, 2, 0)
    x = net.neurons("fc1", net.dense(x, 4096))
    x = net.neurons("fc2", net.dense(x, 4096))
    return Workload(net.readout("out", net.dense(x, 10)), net.rates)


def mobilenet(image: int = 224, bits: int = 8) -> Workload:
    """MobileNet V1 (Howard et al., 2017)."""
    net = Builder(f"mobilenet-{image}", (3, image, image), bits)
    x = net.neurons("stem", net.conv(net.start, 32, 3, 2))
    plan = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for number, (channels, stride) in enumerate(plan):
        width = x[0].shape[0]
        x = net.neurons(f"dw{number}", net.conv(x, width, 3, stride, groups=width))
        x = net.neurons(f"pw{number}", net.pointwise(x, channels))
    return Workload(net.readout("out", net.classify(x, 1000)), net.rates)


def random_recurrent(neurons: int, seed: int = 0, bits: int = 8) -> Workload:
    """Blocks of 64 neurons on a torus, each read by its 4 neighbours and 4 others drawn at random."""
    random = np.random.default_rng(seed)
    net = Builder(f"random-{neurons}", (64,), bits, seed)
    count, width = neurons // 64, 64
    side = int(count**0.5)
    names = [f"n{i}" for i in range(count)]
    for name in names:
        net.block(name, width)
    net.wire("input", names[0])
    for number, name in enumerate(names):
        row, column = divmod(number, side)
        near = {
            ((row + a) * side + column + b) % count for a, b in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
        }
        for source in sorted(near | set(random.integers(0, count, 4).tolist())):
            net.wire(names[source], name)
    return Workload(net.network((names[-1],)), net.rates)


CATALOGUE: Mapping[str, Callable[[], Workload]] = {
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "random-16k": lambda: random_recurrent(16_384),
    "max-former-384": max_former,
    "spikformer-4-256": lambda: spikformer(4, 256, 32, (False, False, True, True)),
    "spikformer-4-384": lambda: spikformer(4, 384, 32, (False, False, True, True)),
    "spikformer-4-384, 4 bit": lambda: spikformer(4, 384, 32, (False, False, True, True), bits=4),
    "mobilenet-224": mobilenet,
    "sdt-v2-224": spike_driven_v2,
    "qsd-224, 4 bit": qsd,
    "spikformer-8-512-224": lambda: spikformer(8, 512, 224, (True, True, True, True)),
}
"""The networks of the table, from small to large."""


WINDOW = 8
"""Tokens on a side of the squares within which tokens of large images attend."""


def large_spikformer(neurons: float) -> Workload:
    """A Spikformer of about so many neurons.

    Below 3 million it has four blocks for images of 32 or 16, and its width gives the number. Above it has
    eight blocks of width 512 for ImageNet, and the image gives the number; long sides are multiples of 256.
    Tokens of these attend within squares of 8 by 8: with one attention over all of them an accumulator would
    have tens of thousands of inputs, more than a core can hear.
    """
    if neurons < 3e6:
        image = 32 if neurons > 4e5 else 16
        width = 384 * neurons / 1.57e6 * (32 / image) ** 2
        return spikformer(4, max(round(width / 32), 1) * 32, image, (False, False, True, True))
    pools = (True, True, True, True)
    step = 128 if neurons < 2e8 else 256
    unit = spikformer(8, 512, 224, pools).neurons / 224**2
    size = max(round((neurons / unit) ** 0.5 / step), 1) * step
    return spikformer(8, 512, size, pools, window=WINDOW if size % (16 * WINDOW) == 0 else 0)


HUGE: Mapping[str, Callable[[], Workload]] = {"spikformer-8-512-640": lambda: large_spikformer(1.34e8)}
"""What takes minutes to map, and is compared with those peers only that can run at its size."""
