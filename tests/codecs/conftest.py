# SPDX-License-Identifier: Apache-2.0
"""What does not ship, for the shared tests that run over its cases too."""

from collections.abc import Iterator

import pytest

from tests.codecs.case import all_ship


@pytest.fixture(scope="module")
def every_family() -> Iterator[None]:
    with all_ship():
        yield
