# SPDX-License-Identifier: Apache-2.0
"""What the CUDA coders check before they start a kernel; no GPU is needed for that."""

import struct

import numpy as np
import pytest
import torch

from isthmus.entropy import TableFamily
from isthmus.errors import CorruptStreamError
from isthmus.kernels.cuda.rans import coder as cuda_rans
from isthmus.kernels.cuda.rans import status
from isthmus.kernels.cuda.rans.arguments import as_bounds, as_choice, on_device
from isthmus.kernels.cuda.rans.device_tables import DECODER_FAMILY
from isthmus.kernels.cuda.rans.device_tables import FAMILY as FAMILY_TYPES

FAMILY = TableFamily.from_counts([[1, 2, 1], [5, 1], [1, 1, 1, 9]], [-1, 0, 4])
TABLES = cuda_rans.DeviceTables.upload(FAMILY, "cpu")


def test_the_tables_keep_their_bits() -> None:
    assert (TABLES.precision, TABLES.count, TABLES.least_cost) == (12, 3, int(FAMILY.least_costs.min()))
    assert TABLES.packed.shape == (0,) and len(TABLES.image) > 3 << 12
    assert np.array_equal(TABLES.rows.numpy().view(np.uint32), FAMILY.encoder_rows)
    assert TABLES.starts.tolist() == FAMILY.starts.tolist()
    for family, types in ((TABLES.family(), FAMILY_TYPES), (TABLES.decoder_family(), DECODER_FAMILY)):
        assert len(family) == len(types) and struct.calcsize(f"@{types}") % 8 == 0
        assert [isinstance(member, torch.Tensor) for member in family] == [kind == "P" for kind in types]


@pytest.mark.parametrize(
    ("shape", "steps"),
    [((), (0, 0, 0)), ((6,), (0, 1, 1)), ((1, 1), (0, 0, 0)), ((1, 9), (0, 0, 1)), ((4, 1), (1, 0, 0))],
)
def test_forms_of_table_indices(shape: tuple[int, ...], steps: tuple[int, int, int]) -> None:
    choice = as_choice(torch.full(shape, 2) if shape else 2, 4, TABLES, "test")
    assert (choice.chunk_step, choice.first_step, choice.step) == steps
    assert choice.indices.dtype == torch.int16 and (choice.indices == 2).all()


@pytest.mark.parametrize("shape", [(3, 1), (2, 2), (4, 2), (1, 1, 1), (0, 1)])
def test_other_shapes_of_table_indices(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"test: table indices \("):
        as_choice(torch.zeros(shape, dtype=torch.int64), 4, TABLES, "test")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64])
def test_a_wrong_index_stays_wrong_in_16_bits(dtype: torch.dtype) -> None:
    """The kernel reads 16 unsigned bits and refuses what is not below the number of tables."""
    limits = torch.iinfo(dtype)
    wrong = torch.tensor([v for v in (3, limits.max, limits.min, -1, 65_536) if limits.min <= v <= limits.max and v])
    read = as_choice(wrong.to(dtype), 1, TABLES, "test").indices.numpy().view(np.uint16)
    assert len(read) >= 2 and (read >= 3).all()
    good = as_choice(torch.tensor([0, 1, 2]).to(dtype), 1, TABLES, "test").indices.numpy().view(np.uint16)
    assert good.tolist() == [0, 1, 2]


def test_an_index_without_a_table() -> None:
    for wrong in (-1, 3, np.int64(3)):
        with pytest.raises(ValueError, match="3 tables"):
            as_choice(wrong, 1, TABLES, "test")
    with pytest.raises(TypeError, match="table indices: got torch.float64"):
        as_choice(torch.zeros(3, dtype=torch.float64), 1, TABLES, "test")


def test_bounds() -> None:
    assert as_bounds([0, 4], TABLES, "b").dtype == as_bounds(torch.tensor([0]).int(), TABLES, "b").dtype == torch.int64
    with pytest.raises(TypeError, match="b: got torch.float32"):
        as_bounds([0.0, 1.0], TABLES, "b")
    for wrong in (torch.zeros((), dtype=torch.int64), torch.zeros(0, dtype=torch.int64), [[0, 1]]):
        with pytest.raises(ValueError, match=r"expected \[chunks \+ 1\]"):
            as_bounds(wrong, TABLES, "b")


def test_tensors_elsewhere_and_of_other_kinds() -> None:
    with pytest.raises(ValueError, match="x: on meta, expected cpu"):
        on_device(torch.empty(3, device="meta", dtype=torch.uint8), TABLES, (torch.uint8,), "x")
    with pytest.raises(TypeError, match="x: got list"):
        on_device([1], TABLES, (torch.uint8,), "x")
    with pytest.raises(ValueError, match="3 lanes"):
        cuda_rans.encode(torch.zeros(3, dtype=torch.int32), [0, 3], 0, TABLES, lanes=3)


def test_a_device_without_cuda() -> None:
    with pytest.raises(ValueError, match="on cpu, expected a CUDA device"):
        cuda_rans.decode(torch.zeros(9, dtype=torch.uint8), [0, 9], [0, 3], 0, TABLES)
    with pytest.raises(ValueError, match="on cpu, expected a CUDA device"):
        cuda_rans.encode(torch.zeros(3, dtype=torch.int32), [0, 3], 0, TABLES)


def test_more_symbols_than_bytes_can_hold() -> None:
    data = torch.zeros(9, dtype=torch.uint8)
    for last in (1 << 20, 1 << 62):
        with pytest.raises(CorruptStreamError, match=f"9 bytes cannot hold {last} symbols"):
            cuda_rans.decode(data, [0, 9], [0, last], 0, TABLES)
    with pytest.raises(ValueError, match="end at -1"):
        cuda_rans.decode(data, [0, 9], [0, -1], 0, TABLES)


@pytest.mark.parametrize("code", range(1, 8))
def test_the_first_fault_is_raised(code: int) -> None:
    codes = torch.tensor([0, 0, code, 3 - code % 2, 0], dtype=torch.uint8)
    kind = ValueError if code in status.MISTAKES else CorruptStreamError
    words = {**status.FAULTS, **status.MISTAKES}[code]
    with pytest.raises(kind, match=f"what: chunk 2: {words}"):
        status.raise_faults(codes, "what")
    status.raise_faults(torch.zeros(4, dtype=torch.uint8), "what")
    status.raise_faults(torch.zeros(0, dtype=torch.uint8), "what")
