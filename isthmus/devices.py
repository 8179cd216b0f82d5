# SPDX-License-Identifier: Apache-2.0
"""Devices by name, and torch as it is where nobody has changed its settings."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from isthmus.forks import torch_computes


def check_device(device: str) -> str:
    """The device in torch's spelling: cpu, cuda or cuda:N. Raises ValueError when torch does not know or find it."""
    import torch

    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {device!r}: expected cpu, cuda or cuda:N") from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r}: expected cpu, cuda or cuda:N")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device!r}: torch finds {torch.cuda.device_count()} CUDA devices; use cpu")
    return "cpu" if found.type == "cpu" else str(found)


@contextmanager
def usual_settings() -> Iterator[None]:
    """Within it torch makes ordinary tensors on the CPU and multiplies in their own dtype, whatever callers have set.

    The default dtype is that of the whole process and stays: code within names its dtypes.
    """
    import torch

    torch_computes()
    with ExitStack() as stack:
        stack.enter_context(torch.device("cpu"))
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
