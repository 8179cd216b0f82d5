# SPDX-License-Identifier: Apache-2.0
"""Numbers of things, as people read them."""


def count(number: int, what: str, several: str = "") -> str:
    """1 shard, 2 shards; `several` where an s does not do."""
    return f"{number} {what if number == 1 else several or what + 's'}"
