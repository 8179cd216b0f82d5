# SPDX-License-Identifier: Apache-2.0
"""What single types need beyond the rules of `sizes`: values by dotted path in their config."""

from typing import Any

OVERRIDES: dict[str, dict[str, Any]] = {}
