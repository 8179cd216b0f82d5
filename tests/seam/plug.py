# SPDX-License-Identifier: Apache-2.0
"""Plugs the toy family in: its folder, the registry's line, the entry of the index. Nothing else knows of it."""

from pathlib import Path

import pytest

from isthmus import codecs
from isthmus.codecs import registry
from isthmus.codecs.registry import Pretrained, pretrained

ENTRY = {
    "name": "toy",
    "kind": "audio",
    "revision": 1,
    "file": None,
    "summary": "sound as rounded samples",
    "tables": {"toy.1": "00000000"},
    "weights_hash": "00000000",
}


def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of the test or module that the monkeypatch belongs to."""
    monkeypatch.setattr(codecs, "__path__", [*codecs.__path__, str(Path(__file__).parent)])
    monkeypatch.setitem(registry.FAMILIES, "toy", ("toy.1",))
    with_toy = (*pretrained(), Pretrained(**ENTRY))  # type: ignore[arg-type]
    monkeypatch.setattr(registry, "pretrained", lambda: with_toy)
    monkeypatch.setattr(registry, "_loaded", dict(registry._loaded))
