# SPDX-License-Identifier: Apache-2.0
"""The toy family, for the shared tests that run over its cases too."""

from collections.abc import Iterator

import pytest

from tests.seam.plug import plug_in


@pytest.fixture(scope="module")
def toy_family() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        plug_in(monkeypatch)
        yield
