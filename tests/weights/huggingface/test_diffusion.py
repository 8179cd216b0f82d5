# SPDX-License-Identifier: Apache-2.0
"""Models and pipelines of diffusers from compressed folders."""

from pathlib import Path
from typing import Any

import pytest
import torch

from isthmus import weights
from isthmus.errors import UnreadableFileError
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from tests.weights.attached.small_models import same_bits

diffusers: Any = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline `plain` and its compressed form `df`."""
    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(64, 128), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    made = diffusers.DDPMPipeline(model, diffusers.DDPMScheduler(num_train_timesteps=10)).to(torch.float16)
    made.save_pretrained(folder / "plain")
    weights.compress(folder / "plain", folder / "df")
    return folder


def test_models(pipeline: Path) -> None:
    wanted = diffusers.UNet2DModel.from_pretrained(pipeline / "plain" / "unet", dtype=torch.float16)
    found = weights.from_pretrained(pipeline / "df" / "unet", diffusers.UNet2DModel)
    assert sum(isinstance(p, CompressedTensor) for p in found.parameters()) > 5
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    with torch.no_grad():
        assert same_bits(found(x, 3).sample, wanted(x, 3).sample)


def test_pipelines(pipeline: Path) -> None:
    pictures = []
    for load in (
        lambda: diffusers.DDPMPipeline.from_pretrained(pipeline / "plain", dtype=torch.float16),
        lambda: weights.from_pretrained(pipeline / "df", diffusers.DDPMPipeline, dtype=torch.float16),
        lambda: weights.from_pretrained(pipeline / "df", diffusers.DiffusionPipeline, dtype=torch.float16),
    ):
        made = load()
        made.set_progress_bar_config(disable=True)
        pictures.append(
            made(num_inference_steps=2, generator=torch.Generator().manual_seed(1), output_type="np").images
        )
    assert isinstance(made.unet.conv_in.weight, torch.nn.Parameter) and weights.attachment_of(made.unet)
    assert (pictures[0] == pictures[1]).all() and (pictures[0] == pictures[2]).all()


def test_what_is_refused(pipeline: Path) -> None:
    with pytest.raises(ValueError, match="weights of torch.float16 cannot be loaded as torch.float32; detach"):
        weights.from_pretrained(pipeline / "df" / "unet", diffusers.UNet2DModel, torch_dtype=torch.float32)
    with pytest.raises(ValueError, match="UNet2DModel: unknown options variant"):
        weights.from_pretrained(pipeline / "df" / "unet", diffusers.UNet2DModel, variant="fp16")
    with pytest.raises(UnreadableFileError, match="no such folder"):
        weights.from_pretrained(pipeline / "nothing", diffusers.UNet2DModel)
    with pytest.raises(UnreadableFileError, match="no pipeline of diffusers: model_index.json"):
        weights.from_pretrained(pipeline / "df" / "unet", diffusers.DiffusionPipeline)
    with pytest.raises(TypeError, match="is no class of models"):
        weights.from_pretrained(pipeline / "df", "DiffusionPipeline")
