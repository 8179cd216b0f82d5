# SPDX-License-Identifier: Apache-2.0
"""What the options of trainings mean."""


def chosen_device(device: str) -> str:
    """ "auto" is a GPU where there is one."""
    import torch

    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
