"""How the elements of a value depend on the neurons of a population, while a graph is lowered.

A :class:`Relation` starts as the identity on a population and is carried through the operations of
the graph: reshape, transpose and split only rename and regroup axes, a convolution or a linear map
contracts axes and adds a kernel. Where it meets the next population it becomes a projection. So no
operation that merely moves elements costs a neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.mapping.network import (
    Kernel,
    KernelAxis,
    Kind,
    Population,
    Projection,
    SourceAxis,
)

UNIT_BITS = 2
"""Width of the weight one with sign."""


class NotExpressibleError(ValueError):
    """A relation cannot be carried through an operation; a population must stand between."""


@dataclass(frozen=True)
class Digit:
    """A finer axis of the value: its identity and its size."""

    key: int
    size: int


@dataclass(frozen=True)
class Link:
    """A finer axis of the population; ``axis.target`` is the key of a digit."""

    key: int
    axis: SourceAxis


@dataclass(frozen=True)
class Relation:
    """A value's elements in terms of a population's neurons.

    Attributes:
        population: its name.
        axes: for each axis of the value, the digits that it consists of, row-major.
        links: for each axis of the population, its finer axes, row-major.
        kind: of the projection that it will be.
        kernel: name of the kernel, once there is one.
        kernel_axes: ``target`` is the key of a digit, ``source`` that of a link.

    >>> from spikeloom.compiler.mapping.network import Population
    >>> tokens = Relation.identity(Population("x", (8, 2, 3), "neuron", (0, 1))).reshape((2, 4, 6))
    >>> tokens.shape, [[link.axis.size for link in group] for group in tokens.links]
    ((2, 4, 6), [[2, 4], [2], [3]])
    """

    population: str
    axes: tuple[tuple[Digit, ...], ...]
    links: tuple[tuple[Link, ...], ...]
    kind: Kind = "elementwise"
    kernel: str | None = None
    kernel_axes: tuple[KernelAxis, ...] = ()

    @staticmethod
    def identity(population: Population) -> Relation:
        """The value that is what the population sends."""
        axes = tuple((Digit(key, size),) for key, size in enumerate(population.shape))
        links = tuple((Link(digit.key, SourceAxis(digit.size, digit.key)),) for (digit,) in axes)
        return Relation(population.name, axes, links)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return tuple(prod(digit.size for digit in axis) for axis in self.axes)

    @property
    def is_plain(self) -> bool:
        """Whether every element of the value is one neuron of the population."""
        return self.kernel is None and all(link.axis.is_identity for group in self.links for link in group)

    def reshape(self, shape: Sequence[int]) -> Relation:
        """The same elements in row-major order under another shape.

        Raises:
            NotExpressibleError: the two shapes cut the elements across each other.
        """
        relation = self
        rest = [digit for axis in self.axes for digit in axis]
        axes: list[tuple[Digit, ...]] = []
        for size in shape:
            taken: list[Digit] = []
            if size == 1 and rest and rest[0].size == 1:
                taken.append(rest.pop(0))
            while size > 1:
                digit = rest.pop(0)
                if digit.size > size:
                    relation, outer, inner = relation._split(digit, size)
                    rest.insert(0, inner)
                    digit = outer
                if size % digit.size:
                    raise NotExpressibleError(f"a reshape from {self.shape} to {tuple(shape)} mixes axes")
                taken.append(digit)
                size //= digit.size
            axes.append(tuple(taken))
        if rest:
            axes[-1] += tuple(rest)
        return replace(relation, axes=tuple(axes))

    def transpose(self, order: Sequence[int]) -> Relation:
        """Axis i of the result is axis order[i]."""
        return replace(self, axes=tuple(self.axes[axis] for axis in order))

    def narrow(self, axis: int, start: int, stop: int) -> Relation:
        """The part start..stop-1 of an axis.

        Raises:
            NotExpressibleError: the part is not a box of the finer axes.
        """
        relation = self
        digits = list(self.axes[axis])
        for place, digit in enumerate(digits):
            inner = prod(other.size for other in digits[place + 1 :])
            if start % inner == 0 and stop % inner == 0:
                relation, digits[place] = relation._restrict(digit, start // inner, stop // inner)
                return relation._with_axis(axis, digits)
            if start // inner != (stop - 1) // inner:
                raise NotExpressibleError(f"{start}..{stop} is no box of the axes {digits}")
            relation, digits[place] = relation._restrict(digit, start // inner, start // inner + 1)
            start, stop = start % inner, start % inner + stop - start
        return relation._with_axis(axis, digits)

    def pad(self, axis: int, before: int, after: int) -> Relation:
        """More elements in front of an axis and behind it, which no neuron stands for: they are 0.

        Raises:
            NotExpressibleError: the axis is not one whole axis of the population, or a kernel follows it.

        >>> from spikeloom.compiler.mapping.network import Population
        >>> wide = Relation.identity(Population("x", (8, 3), "neuron", (0, 1))).pad(1, 2, 1)
        >>> wide.shape, wide.links[1][0].axis.offset
        ((8, 6), -2)
        """
        digits = [digit for digit in self.axes[axis] if digit.size > 1] or list(self.axes[axis])[:1]
        link = self._link_of(digits[0]) if len(digits) == 1 else None
        followed = {one.target for one in self.kernel_axes}
        if link is None or not _is_whole(link.axis, digits[0]) or digits[0].key in followed:
            raise NotExpressibleError("a border around something that is not an axis of the population")
        relation = self._with_links(link, replace(link, axis=replace(link.axis, offset=-before)))
        wide = replace(digits[0], size=before + digits[0].size + after)
        return relation._with_axis(axis, [wide if digit == digits[0] else digit for digit in self.axes[axis]])

    def broadcast(self, axis: int, size: int) -> Relation:
        """A new axis in front of ``axis`` along which the value repeats."""
        digit = Digit(self._fresh(), size)
        return replace(self, axes=(*self.axes[:axis], (digit,), *self.axes[axis:]))

    def spread(self, shape: Sequence[int]) -> Relation:
        """Axes of one element repeated.

        Raises:
            NotExpressibleError: such an axis does not follow axes of the population.
        """
        relation = self
        for axis, (have, want) in enumerate(zip(self.shape, shape, strict=True)):
            if have != want:
                relation = relation.reduce(axis).broadcast(axis, want)
        return relation

    def reduce(self, axis: int) -> Relation:
        """The sum over an axis.

        Raises:
            NotExpressibleError: the axis does not follow axes of the population.
        """
        relation, _ = self._contract(self.axes[axis], atom=False)
        return replace(relation, axes=(*self.axes[:axis], *self.axes[axis + 1 :]))

    def linear(self, kernel: Kernel) -> Relation:
        """The last axis times a kernel [outputs, inputs].

        Raises:
            NotExpressibleError: there is a kernel already, or the axis cannot be contracted.
        """
        self._refuse_second_kernel()
        inputs = self.axes[-1]
        keys = {digit.key for digit in inputs}
        others = [link for group in self.links for link in group if link.axis.target not in keys]
        shared = any(link.axis.size > 1 for link in others)
        relation, contracted = self._contract(inputs, atom=shared)
        outputs = Digit(relation._fresh(), kernel.shape[0])
        return replace(
            relation,
            axes=(*self.axes[:-1], (outputs,)),
            kind="pointwise" if shared else "dense",
            kernel=kernel.name,
            kernel_axes=(KernelAxis(outputs.size, target=outputs.key), *contracted),
        )

    def convolution(self, op: Convolution, kernel: Kernel) -> Relation:
        """A cross-correlation of [channels, *positions].

        Raises:
            NotExpressibleError: there is a kernel already, or an axis is not what a window needs.
        """
        self._refuse_second_kernel()
        channels, *positions = self.shape
        relation = self.reshape((op.groups, channels // op.groups, *positions))
        group, inputs = relation.axes[:2]
        relation = relation._as_atoms(group)
        relation, contracted = relation._contract(inputs, atom=True)
        taps: list[KernelAxis] = []
        for number in range(op.axes):
            geometry = (op.kernel[number], op.stride[number], op.padding[number], op.dilation[number])
            if geometry[:3] != (1, 1, 0):
                relation, tap = relation._window(2 + number, *geometry)
                taps.append(tap)
        outputs = Digit(relation._fresh(), len(op.weight) // op.groups)
        groups = tuple(KernelAxis(digit.size, target=digit.key) for digit in group)
        return replace(
            relation,
            axes=((*group, outputs), *relation.axes[2:]),
            kind="conv" if taps else "pointwise",
            kernel=kernel.name,
            kernel_axes=(*groups, KernelAxis(outputs.size, target=outputs.key), *contracted, *taps),
        )

    def pool(self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Relation:
        """Windows over the trailing axes of [channels, *positions], every tap of weight one.

        Raises:
            NotExpressibleError: the relation is not plain, or an axis is not what a window needs.
        """
        if not self.is_plain:
            raise NotExpressibleError("a window over a value that no population sends")
        relation = self._as_atoms(self.axes[0])
        taps = []
        for number, (size, step, margin) in enumerate(zip(kernel, stride, padding, strict=True)):
            relation, tap = relation._window(1 + number, size, step, margin, 1)
            taps.append(tap)
        return replace(relation, kind="pool", kernel=unit_kernel(kernel).name, kernel_axes=tuple(taps))

    def projection(self, target: Population, port: int = 0) -> tuple[Projection, Kernel | None]:
        """The projection onto a population of this value's shape, and its kernel if all weights are one."""
        digits = {digit.key: place for place, digit in enumerate(d for axis in self.axes for d in axis)}
        flat = [link for group in self.links for link in group]
        places = {link.key: place for place, link in enumerate(flat)}
        kernel_axes, ones = self.kernel_axes, None
        if self.kernel is None:
            linked = {link.axis.target for link in flat}
            free = [d for axis in self.axes for d in axis if d.key not in linked and d.size > 1]
            kernel_axes = tuple(KernelAxis(digit.size, target=digit.key) for digit in free)
        if self.kernel is None or self.kind == "pool":
            ones = unit_kernel([axis.size for axis in kernel_axes])
        projection = Projection(
            self.population,
            target.name,
            self.kind,
            tuple(tuple(_renamed(link.axis, digits) for link in group) for group in self.links),
            tuple(tuple(digit.size for digit in axis) for axis in self.axes),
            ones.name if ones else str(self.kernel),
            tuple(
                replace(
                    axis,
                    target=None if axis.target is None else digits[axis.target],
                    source=None if axis.source is None else places[axis.source],
                )
                for axis in kernel_axes
            ),
            port,
        )
        return projection, ones

    def _fresh(self) -> int:
        digits = [digit.key for axis in self.axes for digit in axis]
        return 1 + max([*digits, *(link.key for group in self.links for link in group)], default=0)

    def _with_axis(self, axis: int, digits: Sequence[Digit]) -> Relation:
        return replace(self, axes=(*self.axes[:axis], tuple(digits), *self.axes[axis + 1 :]))

    def _refuse_second_kernel(self) -> None:
        if self.kernel is not None:
            raise NotExpressibleError("two weighted maps in a row")

    def _link_of(self, digit: Digit) -> Link | None:
        found = [link for group in self.links for link in group if link.axis.target == digit.key]
        return found[0] if found else None

    def _with_links(self, old: Link, *new: Link) -> Relation:
        groups = tuple(
            tuple(part for link in group for part in (new if link is old else (link,)))
            for group in self.links
        )
        return replace(self, links=groups)

    def _split(self, digit: Digit, outer_size: int) -> tuple[Relation, Digit, Digit]:
        """Read a digit as (outer, inner)."""
        if digit.size % outer_size:
            raise NotExpressibleError(f"an axis of {digit.size} is not cut into {outer_size} equal parts")
        inner = Digit(self._fresh(), digit.size // outer_size)
        outer = Digit(inner.key + 1, outer_size)
        relation = self
        link = self._link_of(digit)
        if link is not None:
            axis = link.axis
            if not axis.is_identity or axis.size % inner.size or axis.offset % inner.size:
                raise NotExpressibleError("a window or an odd part of an axis cannot be cut in two")
            size, offset = axis.size // inner.size, axis.offset // inner.size
            relation = relation._with_links(
                link,
                Link(link.key, replace(axis, size=size, target=outer.key, offset=offset)),
                Link(outer.key + 1, replace(axis, size=inner.size, target=inner.key, offset=0)),
            )
        kernel_axes: list[KernelAxis] = []
        for one in self.kernel_axes:
            if one.target != digit.key:
                kernel_axes.append(one)
                continue
            if one.size % inner.size or one.offset % inner.size:
                raise NotExpressibleError("an odd part of a kernel cannot be cut in two")
            size, offset = one.size // inner.size, one.offset // inner.size
            kernel_axes += [KernelAxis(size, target=outer.key, offset=offset)]
            kernel_axes += [KernelAxis(inner.size, target=inner.key)]
        axes = tuple(
            tuple(part for one in axis for part in ((outer, inner) if one == digit else (one,)))
            for axis in relation.axes
        )
        return replace(relation, axes=axes, kernel_axes=tuple(kernel_axes)), outer, inner

    def _restrict(self, digit: Digit, start: int, stop: int) -> tuple[Relation, Digit]:
        """Only the indices start..stop-1 of a digit."""
        relation = self
        link = self._link_of(digit)
        if link is not None:
            offset = link.axis.offset + start * link.axis.stride
            relation = relation._with_links(link, replace(link, axis=replace(link.axis, offset=offset)))
        kernel_axes = tuple(
            replace(axis, offset=axis.offset + start) if axis.target == digit.key else axis
            for axis in self.kernel_axes
        )
        return replace(relation, kernel_axes=kernel_axes), replace(digit, size=stop - start)

    def _contract(self, digits: Sequence[Digit], atom: bool) -> tuple[Relation, tuple[KernelAxis, ...]]:
        """Sum over digits; the axes by which a kernel would follow them."""
        relation = self
        followed = []
        for digit in digits:
            link = relation._link_of(digit)
            if (
                link is None
                or not link.axis.is_identity
                or any(a.target == digit.key for a in self.kernel_axes)
            ):
                raise NotExpressibleError("a sum over an axis that does not follow the population")
            axis = replace(link.axis, target=None, taps=digit.size, atom=atom)
            relation = relation._with_links(link, replace(link, axis=axis))
            followed.append(KernelAxis(digit.size, source=link.key))
        return relation, tuple(followed)

    def _window(
        self, axis: int, size: int, stride: int, padding: int, dilation: int
    ) -> tuple[Relation, KernelAxis]:
        """Slide a window along an axis of the value, which must be one whole axis of the population."""
        digits = [digit for digit in self.axes[axis] if digit.size > 1] or list(self.axes[axis])[:1]
        link = self._link_of(digits[0]) if len(digits) == 1 else None
        if link is None or not _is_whole(link.axis, digits[0]):
            raise NotExpressibleError("a window along something that is not an axis of the population")
        count = (link.axis.size + 2 * padding - dilation * (size - 1) - 1) // stride + 1
        moved = replace(link.axis, stride=stride, taps=size, dilation=dilation, offset=-padding)
        relation = self._with_links(link, replace(link, axis=moved))
        new = tuple(replace(digit, size=count) if digit is digits[0] else digit for digit in self.axes[axis])
        return relation._with_axis(axis, new), KernelAxis(size, source=link.key)

    def _as_atoms(self, digits: Sequence[Digit]) -> Relation:
        """Mark the axes that digits follow as channels of one axon."""
        relation = self
        for digit in digits:
            link = relation._link_of(digit)
            if link is not None:
                marked = replace(link, axis=replace(link.axis, atom=True))
                relation = relation._with_links(link, marked)
        return relation


def unit_kernel(shape: Sequence[int]) -> Kernel:
    """A kernel of ones."""
    sizes = tuple(size for size in shape if size > 1) or (1,)
    count = prod(sizes)
    return Kernel(f"ones[{'x'.join(map(str, sizes))}]", sizes, UNIT_BITS, count)


def _is_whole(axis: SourceAxis, digit: Digit) -> bool:
    return axis.is_identity and axis.size == digit.size and axis.offset == 0


def _renamed(axis: SourceAxis, digits: dict[int, int]) -> SourceAxis:
    return axis if axis.target is None else replace(axis, target=digits[axis.target])
