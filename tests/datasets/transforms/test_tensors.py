# SPDX-License-Identifier: Apache-2.0
"""`LatentTensor` under torchvision's v2: right or refused, never unchanged without a word."""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from isthmus.codecs.walloc.image import WallocImageCodec
from isthmus.datasets.transforms import CutMix, MixUp
from isthmus.datasets.transforms.analysis import analysis_of
from isthmus.datasets.transforms.flips import flip
from tests.datasets.transforms.test_flips import latents_of

torchvision = pytest.importorskip("torchvision")
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402
from torchvision.transforms.v2.functional import _utils  # noqa: E402

from isthmus.datasets.transforms import LatentTensor, tensors  # noqa: E402

NAME, QUALITY = "walloc-image-f8c12", 50


@pytest.fixture(scope="module")
def latents() -> LatentTensor:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(-9, 10, (12, 6, 9), generator=generator, dtype=torch.int16)
    return LatentTensor(y, codec=NAME, quality=QUALITY, pixels=(48, 70))


def test_flips_and_crops_are_those_of_latents(latents: LatentTensor) -> None:
    plain, analysis = latents.as_subclass(torch.Tensor), analysis_of(NAME)
    flipped = v2.RandomHorizontalFlip(p=1)(latents)
    assert type(flipped) is LatentTensor and flipped.pixels == (48, 70) and flipped.quality == QUALITY
    assert torch.equal(flipped, flip(plain, analysis, quality=QUALITY, pixels=70))
    assert torch.equal(v2.RandomVerticalFlip(p=1)(latents), flip(plain, analysis, vertical=True, quality=QUALITY))
    cropped = v2.CenterCrop(4)(latents)
    assert type(cropped) is LatentTensor and cropped.pixels == (32, 32)
    assert torch.equal(cropped, plain[:, 1:5, 2:6])
    corner = F.crop(latents, 3, 4, 2, 5)
    assert corner.pixels == (16, 38) and torch.equal(corner, plain[:, 3:5, 4:9])
    assert torch.equal(F.horizontal_flip(corner), flip(plain[:, 3:5, 4:9], analysis, quality=QUALITY, pixels=38))
    assert F.get_size(latents) == [6, 9] and F.get_dimensions(latents) == [12, 6, 9]
    for beyond in ((7, 4), 10):
        with pytest.raises(ValueError, match="not padded"):
            v2.CenterCrop(beyond)(latents)


def test_pipelines_keep_labels_and_what_a_flip_needs(latents: LatentTensor) -> None:
    pipeline = v2.Compose(
        [v2.RandomHorizontalFlip(p=1), v2.CenterCrop((4, 8)), v2.ToDtype({LatentTensor: torch.float16, "others": None})]
    )
    floats = LatentTensor(latents.as_subclass(torch.Tensor).float(), codec=NAME, pixels=(48, 70))
    out = pipeline({"latent": floats, "label": 3})
    assert out["label"] == 3 and out["latent"].dtype == torch.float16 and out["latent"].codec == NAME
    for again in (latents.clone(), latents.to("cpu"), latents.detach(), copy.deepcopy(latents),
                  pickle.loads(pickle.dumps(latents))):  # fmt: skip
        assert type(again) is LatentTensor and torch.equal(again, latents)
        assert (again.codec, again.quality, again.pixels) == (NAME, QUALITY, (48, 70))
    assert type(latents * 2) is torch.Tensor
    assert "pixels=(48, 70)" in repr(latents)
    assert type(v2.ToPureTensor()(latents)) is torch.Tensor


def test_every_functional_of_v2_is_right_or_refused(latents: LatentTensor) -> None:
    """All that dispatch by type, whatever the version of torchvision brings."""
    functionals = {functional.__name__: functional for functional in _utils._KERNEL_REGISTRY}
    assert set(functionals) == {n for n in (*tensors.RIGHT, *tensors.WRONG) if hasattr(F, n)}
    for name in tensors.WRONG:
        if name not in functionals:
            continue
        required = [
            p for p in inspect.signature(functionals[name]).parameters.values() if p.default is inspect.Parameter.empty
        ]
        with pytest.raises(TypeError, match="would be wrong on latents"):
            functionals[name](latents, *[1] * (len(required) - 1))
        kernel = _utils._get_kernel(functionals[name], LatentTensor, allow_passthrough=True)  # what transforms call
        with pytest.raises(TypeError, match="would be wrong on latents"):
            kernel(latents)


HARMLESS = {  # leave latents as they are, as they should; ToDtype of one dtype means images alone, by its docstring
    "ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "Identity", "SanitizeBoundingBoxes",
    "SanitizeKeyPoints", "SetClampingMode", "ToDtype", "ToImage", "ToPILImage", "PILToTensor", "ToPureTensor",
    "ToTensor",
}  # fmt: skip
UNSTOPPABLE = {"LinearTransformation"}  # looks for images itself and calls no functional; the page says so
ARGUMENTS = {
    "SetClampingMode": ("hard",), "RandomAdjustSharpness": (2,), "CenterCrop": (4,),
    "ColorJitter": (0.5,), "ConvertBoundingBoxFormat": ("XYXY",), "FiveCrop": (4,),
    "GaussianBlur": (3,), "JPEG": (50,), "LinearTransformation": (2 * torch.eye(648), torch.zeros(648)),
    "Normalize": ([0.5] * 12, [0.5] * 12), "Pad": (1,), "RandomCrop": (4,), "RandomPosterize": (4,),
    "RandomResize": (4, 8), "RandomResizedCrop": (4,), "RandomRotation": ((20, 40),), "RandomShortestSize": (4,),
    "RandomSolarize": (0.5,), "Resize": (4,), "ScaleJitter": ((4, 4),), "TenCrop": (4,), "ToDtype": (torch.float32,),
    "UniformTemporalSubsample": (1,), "RandomAffine": ((20, 40),),
}  # fmt: skip


def transforms_of_v2() -> list[str]:
    skip = {"Transform", "Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder", "MixUp", "CutMix"}
    found = [n for n, c in vars(v2).items() if inspect.isclass(c) and issubclass(c, v2.Transform) and n not in skip]
    return sorted(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", transforms_of_v2())
def test_no_transform_of_v2_passes_latents_on_unchanged(latents: LatentTensor, name: str) -> None:
    kind = getattr(v2, name)
    options = {"p": 1} if "p" in inspect.signature(kind).parameters else {}
    transform = kind(*ARGUMENTS.get(name, ()), **options)
    try:
        results = [transform(latents) for _ in range(4)]
    except (TypeError, ValueError):
        return
    same = all(isinstance(x, torch.Tensor) and torch.equal(x, latents) for x in results)
    assert same == (name in HARMLESS | UNSTOPPABLE), f"{name} gave {'the same' if same else 'other'} latents"


def test_mixing_is_ours_or_of_collated_batches(latents: LatentTensor) -> None:
    """Collated batches are plain tensors. v2's MixUp leaves batches of unknown types, not their labels."""
    loader = DataLoader([(latents, 0), (latents + 1, 1)], batch_size=2)  # type: ignore[arg-type]
    batch, labels = next(iter(loader))
    assert type(batch) is torch.Tensor
    whole = LatentTensor(batch.float(), codec=NAME, pixels=(48, 70))
    with pytest.raises(TypeError):  # finds no image
        v2.CutMix(num_classes=2)(whole, labels)
    unmixed, _ = v2.MixUp(num_classes=2)(whole, labels)
    assert unmixed is whole  # this too calls no functional
    for ours, theirs in ((MixUp, v2.MixUp), (CutMix, v2.CutMix)):
        for seed in range(5):
            torch.manual_seed(seed)
            got = ours(alpha=0.7, num_classes=2)(batch.float(), labels)
            torch.manual_seed(seed)
            expected = theirs(alpha=0.7, num_classes=2)(batch.float(), labels)
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
        assert type(ours(num_classes=2)(whole, labels)[0]) is torch.Tensor


def test_latents_of_a_codec(shipped: WallocImageCodec, astronaut: np.ndarray) -> None:
    image = astronaut[:60, :85]
    latents = LatentTensor.of(shipped.analyze(image, quality=70))
    assert latents.pixels == (60, 85) and latents.quality == 70 and latents.codec == shipped.name
    assert torch.equal(latents, latents_of(shipped, image, 70))
    with pytest.raises(ValueError, match="do not make"):
        LatentTensor(torch.zeros(12, 6, 9), codec=NAME, pixels=(48, 80))
    with pytest.raises(ValueError, match=r"\[c, h, w\]"):
        LatentTensor(torch.zeros(6, 9), codec=NAME)
    with pytest.raises(TypeError, match="integers become floats"):
        v2.ToDtype({LatentTensor: torch.float32, "others": None})(latents)
    assert isinstance(latents, tv_tensors.TVTensor)


WITHOUT = """
import sys
sys.modules["torchvision"] = None
from isthmus.datasets import transforms
transforms.RandomHorizontalFlip, transforms.MixUp
try:
    transforms.LatentTensor
except Exception as error:
    assert type(error).__name__ == "MissingExtraError" and "isthmus[data]" in str(error), error
else:
    raise AssertionError
"""


def test_all_but_the_tensor_works_without_torchvision() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
