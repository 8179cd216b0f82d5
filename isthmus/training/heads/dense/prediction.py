# SPDX-License-Identifier: Apache-2.0
"""Pictures that a dense head makes of files, as PNG."""

from collections.abc import Sequence
from pathlib import Path

from isthmus.files import check_folder
from isthmus.signals import ImageSignal
from isthmus.training.heads.dense.kinds import kind_of
from isthmus.training.heads.prediction import Predictor


def predicted_names(files: Sequence[Path], out: Path) -> list[Path]:
    """Where the picture of each file goes: its name in `out`, with .png.

    Raises ValueError where two would be one, or where one would be written over what it is made of.
    """
    names = [out / f"{path.stem}.png" for path in files]
    for place, name in enumerate(names):
        if names.index(name) != place:
            raise ValueError(
                f"{files[names.index(name)]} and {files[place]} would both be {name}: give them on their own"
            )
        if name.exists() and any(path.exists() and name.samefile(path) for path in files):
            raise ValueError(f"{name} is one of the files to look at, which would be lost: choose another --out")
    return names


def write_prediction(predictor: Predictor, path: Path, name: Path) -> tuple[int, int]:
    """A mask with a palette, or a picture of values, of the size of the image that the head saw; that size.

    Raises what `Predictor.read` raises, CorruptStreamError for a head that is not dense, UnwritableFileError.
    """
    kind, latent = kind_of(predictor.facts), predictor.read(path)
    signal = latent.spec.header.signal
    assert isinstance(signal, ImageSignal)
    picture = kind.picture(predictor.out(latent)[:, : signal.height, : signal.width])
    check_folder(name.parent, parents=True)
    name.parent.mkdir(parents=True, exist_ok=True)
    kind.write(name, picture)
    return signal.height, signal.width
