# SPDX-License-Identifier: Apache-2.0
"""Kernels on a GPU through the CUDA driver: modules loaded once a device, launches on torch's current stream."""

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from isthmus.kernels.cuda import nvrtc

WARP = 32
THREADS = 128  # a block of `launch_warps`: `__launch_bounds__` of its kernels

Scalar = ctypes.c_int32 | ctypes.c_uint32 | ctypes.c_int64 | ctypes.c_uint64
Argument = torch.Tensor | Scalar | ctypes.Structure


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _call(name: str, *arguments: Any) -> None:
    result = getattr(_library(), name)(*arguments)
    if result:
        text = ctypes.c_char_p()
        _library().cuGetErrorString(result, ctypes.byref(text))
        raise RuntimeError(f"CUDA: {name} failed with error {result}: {(text.value or b'unknown').decode()}")


@cache
def _context(device: int) -> ctypes.c_void_p:
    """The primary context of a device, which torch uses too; held for the life of the process."""
    handle, context = ctypes.c_int(), ctypes.c_void_p()
    _call("cuInit", 0)
    _call("cuDeviceGet", ctypes.byref(handle), device)
    _call("cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
    return context


@cache
def _module(file: str, device: int) -> ctypes.c_void_p:
    major, minor = torch.cuda.get_device_capability(device)
    module = ctypes.c_void_p()
    _call("cuModuleLoadData", ctypes.byref(module), nvrtc.code_of(file, 10 * major + minor))
    return module


@cache
def _kernel(file: str, name: str, device: int) -> ctypes.c_void_p:
    function = ctypes.c_void_p()
    _call("cuModuleGetFunction", ctypes.byref(function), _module(file, device), name.encode())
    return function


def _number(device: torch.device) -> int:
    if device.type != "cuda":
        raise ValueError(f"isthmus.kernels.cuda: the tensors are on {device}, expected a CUDA device")
    return torch.cuda.current_device() if device.index is None else device.index


def launch_warps(file: str, name: str, device: torch.device, warps: int, arguments: Sequence[Argument]) -> None:
    """Starts kernel `name` of `file` with at least `warps` warps, 4 a block; otherwise as `launch`."""
    launch(file, name, device, -(-warps // (THREADS // WARP)), THREADS, arguments)


def launch(
    file: str, name: str, device: torch.device, blocks: int, threads: int, arguments: Sequence[Argument]
) -> None:
    """Starts kernel `name` of `file` with so many blocks, of so many threads, on the current stream of `device`.

    arguments: those of the kernel in order; a tensor stands for a pointer to its first element, so it must be
    contiguous and on `device`. Does not wait for the kernel. Raises ValueError for a device without CUDA, RuntimeError
    for what the driver refuses, MissingExtraError where NVRTC is missing.
    """
    number = _number(device)
    values = [ctypes.c_void_p(a.data_ptr()) if isinstance(a, torch.Tensor) else a for a in arguments]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    stream = ctypes.c_void_p(torch.cuda.current_stream(number).cuda_stream)
    # A thread that has not called the CUDA runtime yet has no current context, whatever device torch names.
    _call("cuCtxPushCurrent_v2", _context(number))
    try:
        kernel = _kernel(file, name, number)
        _call("cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, 0, stream, pointers, None)
    finally:
        _call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
