# SPDX-License-Identifier: Apache-2.0
"""What a training came to, as CSV and, where it is asked for, for TensorBoard."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from isthmus.errors import MissingExtraError
from isthmus.files import atomic_write

NAME = "curve.csv"
FIELDS = ("step", "loss", "samples_per_second")  # of every training; a task has its own beside them


class Curve:
    """Lines of numbers by step in `curve.csv`; those behind a checkpoint that a training goes on from are dropped.

    step: of the checkpoint; below 0 without one. fields: names of its columns. Raises ValueError where the file there
    is of something else, MissingExtraError for `tensorboard` without that package.
    """

    def __init__(self, folder: Path, step: int, *, fields: Sequence[str] = FIELDS, tensorboard: bool = False) -> None:
        self.path, self.fields = folder / NAME, fields
        if self.path.exists():
            self._write([row for row in self._rows() if row["step"].isdecimal() and int(row["step"]) <= step])
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingExtraError(f"TensorBoard logs ({error}): pip install tensorboard") from error
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)  # type: ignore[no-untyped-call]

    def _rows(self) -> list[dict[str, str]]:
        with self.path.open(newline="", errors="replace") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is not None and set(rows.fieldnames) != set(self.fields):
                raise ValueError(
                    f"{self.path}: not the curve of this training ({', '.join(self.fields)}): move it away"
                )
            return [row for row in rows if None not in row and None not in row.values()]  # one may be cut by a kill

    def _write(self, rows: list[dict[str, str]]) -> None:
        made = StringIO(newline="")
        writer = csv.DictWriter(made, self.fields)
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.path, made.getvalue().encode())

    def add(self, step: int, values: dict[str, float]) -> None:
        """One line, at once."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        if not self.path.exists():
            self._write([])
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.fields).writerow(row)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()
