# SPDX-License-Identifier: Apache-2.0
"""Devices by name."""


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
