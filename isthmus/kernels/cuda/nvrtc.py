# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ to machine code with NVRTC, the compiler that torch's CUDA builds bring with them; no GPU is needed."""

import ctypes
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from isthmus.errors import MissingExtraError

HERE = Path(__file__).parent
FILES = ("nvrtc64_*_0.dll",) if sys.platform == "win32" else ("libnvrtc.so.*", "libnvrtc-*.so.*")
OPTIONS = (b"--std=c++17",)


def _candidates() -> Iterator[str]:
    """Where the library may be: beside torch's other CUDA libraries, then wherever the system finds it."""
    nvidia = importlib.util.find_spec("nvidia")
    roots = [Path(root) for root in nvidia.submodule_search_locations or ()] if nvidia else []
    major = (torch.version.cuda or "0").split(".")[0]
    # A torch for CUDA 13 finds cu13/, older ones cuda_nvrtc/; a leftover of another CUDA comes last.
    wheels = [folder for root in roots for name in (f"cu{major}", "cuda_nvrtc", "*") for folder in root.glob(name)]
    for folder in [*wheels, Path(torch.__file__).parent]:
        for file in (file for pattern in FILES for sub in ("lib", "bin") for file in folder.glob(f"{sub}/{pattern}")):
            if "builtins" not in file.name:
                yield str(file)
    yield f"nvrtc64_{major}0_0.dll" if sys.platform == "win32" else f"libnvrtc.so.{major}"


@cache
def library() -> ctypes.CDLL:
    """NVRTC. Raises MissingExtraError where there is none."""
    tried = list(dict.fromkeys(_candidates()))
    for path in tried:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise MissingExtraError(
        f"isthmus.kernels.cuda: NVRTC was not found (tried {', '.join(tried)}); install a CUDA build of torch, or "
        "`pip install nvidia-cuda-nvrtc` of its CUDA version"
    )


def is_there() -> bool:
    """Whether `library` finds it."""
    try:
        library()
    except MissingExtraError:
        return False
    return True


def _check(result: int, call: str) -> None:
    if result:
        text = library().nvrtcGetErrorString
        text.restype = ctypes.c_char_p
        raise RuntimeError(f"NVRTC: {call} failed: {text(result).decode()}")


def architectures() -> list[int]:
    """Compute capabilities that this NVRTC makes machine code for, e.g. 80 and 90, in rising order."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)), "nvrtcGetNumSupportedArchs")
    found = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(found), "nvrtcGetSupportedArchs")
    return sorted(found)


def _output(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)), f"nvrtcGet{what}Size")
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, buffer), f"nvrtcGet{what}")
    return buffer.raw


def compile_source(source: str, name: str, arch: int, defines: Sequence[str] = ()) -> tuple[bytes, str]:
    """Machine code for compute capability `arch` (80, 90, ...) and the compiler's remarks; `name` is used in these.

    defines: macros, as NAME=VALUE. For a GPU that is newer than this NVRTC the code is PTX, which the driver compiles
    on. Raises RuntimeError with the compiler's log for a source that does not compile, MissingExtraError without NVRTC.
    """
    known = [number for number in architectures() if number <= arch]
    if not known:
        raise RuntimeError(f"NVRTC: compute capability {arch} is too old, the least is {architectures()[0]}")
    exact = known[-1] == arch
    program = ctypes.c_void_p()
    created = library().nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    _check(created, "nvrtcCreateProgram")
    try:
        chosen = (f"--gpu-architecture={'sm' if exact else 'compute'}_{known[-1]}", *(f"-D{one}" for one in defines))
        options = (*OPTIONS, *(option.encode() for option in chosen))
        result = library().nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = _output(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
        if result:
            raise RuntimeError(f"NVRTC: {name} does not compile for compute capability {arch}:\n{log}")
        return _output(program, "CUBIN" if exact else "PTX"), log
    finally:
        library().nvrtcDestroyProgram(ctypes.byref(program))


def source_of(name: str) -> str:
    """The file `name`, as rans/decode.cu, with what it includes from beside it, or from another room as rans/x.cuh."""
    file = HERE / name
    beside = file.parent.name
    text = file.read_text(encoding="utf-8")

    def included(found: re.Match[str]) -> str:
        return source_of(f"{found[1] or beside + '/'}{found[2]}")

    return re.sub(r'^#include "(\w+/)?(\w+\.cuh)"$', included, text, flags=re.MULTILINE)


@cache
def code_of(name: str, arch: int, defines: tuple[str, ...] = ()) -> bytes:
    """The code of the file `name`, as rans/decode.cu, for compute capability `arch`; compiled once a process."""
    return compile_source(source_of(name), name, arch, defines)[0]
