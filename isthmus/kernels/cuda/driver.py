# SPDX-License-Identifier: Apache-2.0
"""Kernels on a GPU through the CUDA driver: modules loaded once a device, launches on torch's current stream."""

import ctypes
import struct
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from isthmus.kernels.cuda import nvrtc

WARP = 32
THREADS = 128  # a block of `launch_warps`: `__launch_bounds__` of its kernels
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
MAX_SHARED_OPTIN = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


Argument = torch.Tensor | int | float


class _Arguments(ctypes.Structure):
    """The arguments of a kernel as one block of memory, as cuLaunchKernel takes it."""

    _fields_ = (
        ("is_block", ctypes.c_size_t),  # CU_LAUNCH_PARAM_BUFFER_POINTER
        ("block", ctypes.c_char_p),
        ("is_size", ctypes.c_size_t),  # CU_LAUNCH_PARAM_BUFFER_SIZE
        ("size", ctypes.c_void_p),
        ("end", ctypes.c_size_t),  # CU_LAUNCH_PARAM_END
    )


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


@cache
def _function(name: str) -> Callable[..., int]:
    found: Callable[..., int] = getattr(_library(), name)
    return found


def _call(name: str, *arguments: Any) -> None:
    result = _function(name)(*arguments)
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
def _module(file: str, device: int, defines: tuple[str, ...]) -> ctypes.c_void_p:
    major, minor = torch.cuda.get_device_capability(device)
    module = ctypes.c_void_p()
    _call("cuModuleLoadData", ctypes.byref(module), nvrtc.code_of(file, 10 * major + minor, defines))
    return module


@cache
def _kernel(file: str, name: str, device: int, defines: tuple[str, ...], asks: bool) -> ctypes.c_void_p:
    """asks: whether launches ask for memory. The limit is of the function, not of a launch, so it is the greatest."""
    function = ctypes.c_void_p()
    _call("cuModuleGetFunction", ctypes.byref(function), _module(file, device, defines), name.encode())
    if asks:
        most = most_shared(torch.device("cuda", device))
        _call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED, most)
    return function


@cache
def most_shared(device: torch.device) -> int:
    """Bytes of shared memory that a block can have on `device`."""
    handle, most = ctypes.c_int(), ctypes.c_int()
    _context(_number(device))
    _call("cuDeviceGet", ctypes.byref(handle), _number(device))
    _call("cuDeviceGetAttribute", ctypes.byref(most), MAX_SHARED_OPTIN, handle)
    return most.value


@cache
def processors(device: torch.device) -> int:
    """Multiprocessors of `device`; ValueError without CUDA."""
    return torch.cuda.get_device_properties(_number(device)).multi_processor_count


def current_stream(device: torch.device) -> int:
    """The handle of the current stream, without the object round it where torch gives it so."""
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)
    handle: int = raw(_number(device)) if raw else torch.cuda.current_stream(device).cuda_stream
    return handle


def _number(device: torch.device) -> int:
    if device.type != "cuda":
        raise ValueError(f"isthmus.kernels.cuda: the tensors are on {device}, expected a CUDA device")
    return torch.cuda.current_device() if device.index is None else device.index


@cache
def _layout(signature: str) -> struct.Struct:
    return struct.Struct(f"@{signature}")  # aligned as the kernels' arguments are


def launch_warps(
    file: str, name: str, device: torch.device, warps: int, signature: str, arguments: Sequence[Argument]
) -> None:
    """Starts kernel `name` of `file` with at least `warps` warps, 4 a block; otherwise as `launch`."""
    launch(file, name, device, -(-warps // (THREADS // WARP)), THREADS, signature, arguments)


def launch(
    file: str,
    name: str,
    device: torch.device,
    blocks: int,
    threads: int,
    signature: str,
    arguments: Sequence[Argument],
    *,
    shared: int = 0,
    defines: tuple[str, ...] = (),
) -> None:
    """Starts kernel `name` of `file` with so many blocks, of so many threads, on the current stream of `device`.

    arguments: those of the kernel in order, a structure as its members, which fill a multiple of 8 bytes; a tensor
    stands for a pointer to its first element, so it must be contiguous and on `device`. signature: the type of each, as
    `struct` writes it. shared: bytes of memory that each block gets beside what the file says. defines: macros the file
    is compiled with, as NAME=VALUE. Does not wait for the kernel. Raises ValueError for a device without CUDA,
    RuntimeError for what the driver refuses, MissingExtraError where NVRTC is missing.
    """
    block = packed(signature, arguments)
    start(file, name, device, blocks, threads, block, shared=shared, defines=defines)


def packed(signature: str, arguments: Sequence[Argument]) -> bytes:
    """Arguments of a kernel as `start` takes them."""
    return _layout(signature).pack(*[a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments])


def start(
    file: str,
    name: str,
    device: torch.device,
    blocks: int,
    threads: int,
    block: bytes,
    *,
    shared: int = 0,
    defines: tuple[str, ...] = (),
) -> None:
    """`launch` with arguments that are packed already."""
    number = _number(device)
    size = ctypes.c_size_t(len(block))
    extra = ctypes.byref(_Arguments(1, block, 2, ctypes.addressof(size), 0))
    stream = ctypes.c_void_p(current_stream(device))
    context, current = _context(number), ctypes.c_void_p()
    _call("cuCtxGetCurrent", ctypes.byref(current))
    # A thread that has not called the CUDA runtime yet has no current context, whatever device torch names.
    pushed = current.value != context.value
    if pushed:
        _call("cuCtxPushCurrent_v2", context)
    try:
        kernel = _kernel(file, name, number, defines, shared > 0)
        _call("cuLaunchKernel", kernel, blocks, 1, 1, threads, 1, 1, shared, stream, None, extra)
    finally:
        if pushed:
            _call("cuCtxPopCurrent_v2", ctypes.byref(current))
