# SPDX-License-Identifier: Apache-2.0
"""Networks whose code changes tensors in place, or is another when it trains: both halves are the whole, or refused."""

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.models.cut import cut


class Three(nn.Module):
    """Three convolutions; what a test puts between them."""

    def __init__(self) -> None:
        super().__init__()
        self.d, self.a, self.b = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)
        self.register_buffer("count", torch.zeros(()))

    def between(self, z: Tensor) -> Any:
        """Changes what comes out of the first."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.d(x)
        self.between(z)
        return self.b(self.a(z))


class Method(Three):
    def between(self, z: Tensor) -> Any:
        z.relu_()


class Function(Three):
    def between(self, z: Tensor) -> Any:
        F.relu(z, True)


class Module(Three):
    def between(self, z: Tensor) -> Any:
        self.relu(z)


class View(Three):
    def between(self, z: Tensor) -> Any:
        z[:, :2].zero_()


class Item(Three):
    def between(self, z: Tensor) -> Any:
        z[:, :2] = 0


class Added(Three):
    def between(self, z: Tensor) -> Any:
        z += 1
        z[:, 1] *= 2


class Counting(Three):
    count: Tensor

    def between(self, z: Tensor) -> Any:
        self.count.add_(1)


class Behind(Three):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(self.d(x))
        y[:, 1:].relu_()
        w = y
        w += 1
        return self.b(y)


KINDS = [Method, Function, Module, View, Item, Added, Behind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", ["a", "b"])
def test_what_is_changed_in_place_stays_so(kind: type[Three], at: str) -> None:
    torch.manual_seed(1)
    model, x = kind().eval(), torch.randn(2, 3, 5, 4)
    front, tail = cut(model, at)
    with torch.no_grad():
        assert torch.equal(tail(front(x)), model(x))


def test_a_buffer_that_counts_is_left_alone_and_counts_on() -> None:
    model = Counting()
    front, tail = cut(model, "a")
    assert model.count == 0
    tail(front(torch.randn(1, 3, 2, 2)))
    assert model.count == 1


class Late(Three):
    def forward(self, x: Tensor) -> Tensor:
        z = self.d(x)
        y = self.a(z)
        z.zero_()
        return self.b(y)


class LateCount(Counting):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(self.d(x))
        self.count.add_(1)
        return self.b(y)


class Choosing(Three):
    def between(self, z: Tensor) -> Any:
        if self.training:
            z.zero_()


class Drawing(Three):
    def between(self, z: Tensor) -> Any:
        z += torch.rand(3, 1, 1)


class Calling(Three):
    calls = 0

    def between(self, z: Tensor) -> Any:
        self.calls += 1


class Assigning(Counting):
    def between(self, z: Tensor) -> Any:
        self.count = self.count + 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Late, "zero_ runs behind a, and changes what is beside it"),
        (LateCount, "add_ runs behind a, and changes what is beside it"),
        (Choosing, "takes other steps when it trains"),
        (Drawing, "or each time"),
        (Calling, "sets attributes"),
        (Assigning, "sets attributes"),
    ],
)
def test_what_no_half_would_do_is_refused(kind: type[Three], message: str) -> None:
    model = kind().train()
    model.b.eval()
    with pytest.raises(ValueError, match=message):
        cut(model, "a")
    assert model.training and model.a.training and not model.b.training and getattr(model, "calls", 0) == 0
    assert isinstance(model.count, Tensor) and model.count == 0


def test_hooks_of_the_model_are_refused_and_those_of_modules_kept() -> None:
    model, x, heard = Three(), torch.randn(1, 3, 2, 2), list[str]()
    model.d.register_forward_hook(lambda *_: heard.append("d"))
    model.b.register_forward_pre_hook(lambda *_: heard.append("b"))
    front, tail = cut(model, "a")
    heard.clear()
    tail(front(x))
    assert heard == ["d", "b"]
    for hook in (model.register_forward_hook, model.register_forward_pre_hook, model.register_full_backward_hook):
        handle = hook(lambda *_: None)  # type: ignore[operator]
        with pytest.raises(ValueError, match="Three has hooks of its own"):
            cut(model, "a")
        handle.remove()
    assert cut(model, "a")


class Dropping(Three):
    def forward(self, x: Tensor) -> Tensor:
        h = F.dropout(self.a(F.dropout(self.d(x), 0.5, self.training)), 0.5 if self.training else 0.0)
        return self.b(F.dropout(h, 0.5, training=self.training))


@pytest.mark.parametrize("at", ["d", "a", "b"])
def test_what_drops_asks_its_half(at: str) -> None:
    model, x = Dropping().eval(), torch.randn(2, 3, 5, 4)
    front, tail = cut(model, at)
    assert torch.equal(tail(front(x)), model(x))
    names = set(model.state_dict())
    assert set(front.state_dict()) | set(tail.state_dict()) <= names and not hasattr(model, "_mode_of_half")
    for part in (deepcopy(front) if at == "b" else deepcopy(tail), front if at == "b" else tail):
        y = x if at == "b" else front(x)
        same = torch.equal(part.train()(y), part(y))
        assert not same and torch.equal(part.eval()(y), part(y))
    front, tail = cut(model.train(), at)
    assert front.training and tail.training and not torch.equal(tail(front(x)), tail(front(x)))


def test_modules_that_drop_ask_as_they_run() -> None:
    model = nn.Sequential(nn.Identity(), nn.Identity(), nn.Dropout(0.5))
    _, tail = cut(model.train(), "1")
    x = torch.ones(1000)
    assert (tail(x) == 0).any() and torch.equal(tail.eval()(x), x)


class Weighing(Three):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(self.d(x))
        scale = (self.b.weight * self.count.add(2)).exp()
        return self.b(y) * scale.mean()


class Unmoved(Three):
    def forward(self, x: Tensor) -> Tensor:
        self.a(x)
        return self.b.weight * 2


def test_what_is_made_of_weights_is_made_in_the_tail() -> None:
    model, x = Weighing(), torch.randn(2, 3, 5, 4)
    front, tail = cut(model, "a")
    assert torch.equal(tail(front(x)), model(x))
    with pytest.raises(ValueError, match="the output does not depend on a"):
        cut(Unmoved(), "a")
