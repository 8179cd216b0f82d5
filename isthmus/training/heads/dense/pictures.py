# SPDX-License-Identifier: Apache-2.0
"""Pictures of targets as the images of a data set of latents were made: read, resized, cropped, each in its view."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from isthmus.arrays.resizing import MOST_PIXELS
from isthmus.datasets.latents.dataset import LatentDataset
from isthmus.datasets.settings import Settings
from isthmus.datasets.views import views_of
from isthmus.errors import UnreadableFileError
from isthmus.media import kinds
from isthmus.media.masks import MODES, mode_of, read_mask, size_of
from isthmus.training.heads.dense.files import digest_of, find_targets

Are = Literal["classes", "values"]


class Pictures(Dataset[NDArray[np.uint8]]):
    """Targets of a data set of latents of images, map-style: uint8 [H, W, 1] of classes, [H, W, 1 or 3] of values.

    folder: of pictures, found by the keys of samples. are: what they hold; None: what the first says by its mode, see
    `are_of`. Classes are resized to the nearest pixel, values as the images were. Raises ValueError for data that are
    no images, missing targets, and targets that are not of the size of their image; UnreadableFileError.
    """

    def __init__(self, latents: LatentDataset, folder: Path, are: Are | None = None) -> None:
        if latents.kind != "image":
            raise ValueError(
                f"{latents.path}: latents of {latents.kind}; a value for every pixel needs those of images"
            )
        self.path, self.folder = latents.path, folder
        facts = latents.facts
        if facts and "key" not in facts[0]:
            raise ValueError(f"{latents.path}: read without its keys, by which targets are found: columns=['key', ...]")
        self.keys = [str(fact["key"]) for fact in facts]
        self.views = [str(fact.get("view") or "") for fact in facts]
        self.settings = Settings(**latents.origin["settings"])
        self.files = find_targets(folder, self.keys, latents.path)
        if not self.files:
            raise ValueError(f"{latents.path}: no samples")
        self.told, found = are_of(self.files[0])
        self.are: Are = are or found
        try:
            self.sizes: NDArray[np.int64] | None = latents.sizes
        except ValueError:  # of files that are analysed as they are asked for
            self.sizes = None
        self._warned: set[type[Warning]] = set()
        self.note = self._check_sources(latents.origin["sources"])

    def __len__(self) -> int:
        return len(self.files)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits, others when any target is."""
        return digest_of(self.files, self.folder)

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        """As the image of sample `place` was stored. Raises UnreadableFileError, ValueError for one of another size."""
        path, key, view = self.files[place], self.keys[place], self.views[place]
        options: dict[str, Any] = dict(self.settings.options)
        if self.are == "classes":
            picture = read_mask(path, int(options.get("max_pixels") or MOST_PIXELS))
        else:
            picture = self._values(path, options)
        made = views_of(picture, self.settings, key, nearest=self.are == "classes")
        shown = next((pixels for name, pixels in made if name == view), None)
        if shown is None:
            raise ValueError(f"{self.path}: sample {key!r} is of view {view!r}, which its settings do not have")
        if self.sizes is not None:
            self.check_size(place, shown, self.sizes[place].tolist())
        return shown

    def _values(self, path: Path, options: dict[str, Any]) -> NDArray[np.uint8]:
        """Says of each kind of warning the first, as pictures are read once an epoch."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            picture: NDArray[np.uint8] = kinds.read(path, "image", options)[0]
        for one in caught:
            if one.category not in self._warned:
                self._warned.add(one.category)
                warnings.warn(f"{one.message}; others like it are not told", one.category, stacklevel=3)
        return picture

    def check_size(self, place: int, shown: NDArray[np.uint8], size: Sequence[int]) -> None:
        """Raises ValueError for a picture that is not of the height and width of its sample."""
        if shown.shape[:2] != tuple(size):
            raise ValueError(
                f"{self.files[place]}: {shown.shape[1]}x{shown.shape[0]} pixels, brought to the size of the latents; "
                f"sample {self.keys[place]!r} is {size[1]}x{size[0]}: a target has the size and shape of its image"
            )

    def check_like(self, others: "Pictures") -> None:
        """Raises ValueError for classes where the others are values, as their modes say."""
        if are_of(self.files[0])[1] != are_of(others.files[0])[1]:
            raise ValueError(
                f"{self.files[0]} is {self.told}, {others.files[0]} is {others.told}: targets of one kind are expected"
            )

    def check_kind(self, mode: str | None, outputs: int) -> None:
        """Raises ValueError for classes where a head of values was trained on values, or the other way.

        mode: of the first target of its training; files of heads that do not say it had one that fits `outputs`.
        """
        if mode is None:
            is_other = self.are == "values" and (self.told == "P" or (outputs == 3 and self.told in MODES))
        else:
            is_other = (mode in MODES) != (self.told in MODES)
        if is_other:
            was = "of another kind" if mode is None else mode
            raise ValueError(
                f"{self.files[0]} is {self.told}, the head's targets were {was}, {self.are}: targets of one kind are "
                "expected"
            )

    def _check_sources(self, sources: Sequence[Any]) -> str | None:
        """Resized or cropped, sizes are alike: those before are compared, where images are at hand; else a note."""
        if self.settings.crop is None and self.settings.resize is None:
            return None
        folders = [Path(s["folder"]) for s in sources if isinstance(s, dict) and isinstance(s.get("folder"), str)]
        unknown = 0
        for path, key in dict(zip(self.files, self.keys, strict=True)).items():
            image = next((folder / key for folder in folders if (folder / key).is_file()), None)
            try:
                size = size_of(image) if image else None
            except UnreadableFileError:
                size = None
            if size is None:
                unknown += 1
                continue
            found = size_of(path)
            if size != found:
                raise ValueError(
                    f"{path}: {found[1]}x{found[0]} pixels, its image {image} is {size[1]}x{size[0]}: a target has the "
                    "size and shape of its image"
                )
        if not unknown:
            return None
        return f"{unknown} images of {self.path} are not at hand: that targets are of their size is not checked"


def are_of(path: Path) -> tuple[str, Are]:
    """Pillow's mode of a picture, and what it says: classes for P, L and 1, values for the rest."""
    mode = mode_of(path)
    return mode, "classes" if mode in MODES else "values"
