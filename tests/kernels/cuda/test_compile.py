# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels compile without a GPU, with nothing but what torch brings."""

import re
from importlib.resources import files

import pytest
import torch

from isthmus.errors import MissingExtraError
from isthmus.kernels.cuda import nvrtc
from isthmus.kernels.cuda.context import causal
from isthmus.kernels.cuda.huffman import linear as huffman_linear
from isthmus.kernels.cuda.rans import status

needs_cuda_build = pytest.mark.skipif(
    torch.version.cuda is None, reason=f"torch {torch.__version__} is not a CUDA build, so it brings no NVRTC"
)
SOURCES = {
    f"{folder}/{path.name}": nvrtc.source_of(f"{folder}/{path.name}")
    for folder in ("context", "huffman", "rans", "wavelet")
    for path in files(f"isthmus.kernels.cuda.{folder}").iterdir()
    if path.name.endswith(".cu")
}
DEFINES: dict[str, list[tuple[str, ...]]] = {
    "context/causal.cu": [
        (f"GROUP={group}", f"PRECISION={precision}", "LOOKUP=0")
        for group, precision in ((1, 15), (8, 12), (causal.GROUP, 12), (32, 12))
    ],
    "rans/decode.cu": [
        ("VALUE=i32", "INDEX=u16", "STEP=1", "LOOKUP=0", "PRECISION=15", "WIDTH=0"),
        ("VALUE=i16", "INDEX=u8", "STEP=0", "LOOKUP=0", "PRECISION=12", "WIDTH=0"),
        ("VALUE=i8", "INDEX=u16", "STEP=0", "LOOKUP=1", "PRECISION=12", "WIDTH=0"),
        ("VALUE=i32", "INDEX=u8", "STEP=1", "LOOKUP=2", "PRECISION=12", "WIDTH=1"),
        ("VALUE=i16", "INDEX=u16", "STEP=0", "LOOKUP=2", "PRECISION=14", "WIDTH=5"),
    ],
    "huffman/linear.cu": [
        (f"VECTORS={vectors}", f"BLOCKS={blocks}") for vectors, blocks in enumerate(huffman_linear.BLOCKS, start=1)
    ],
    "wavelet/analyze.cu": [("SAMPLE=u8", "OUTPUTS=4"), ("SAMPLE=float", "OUTPUTS=12"), ("SAMPLE=float", "OUTPUTS=48")],
}
CASES = [(name, defines) for name in sorted(SOURCES) for defines in DEFINES.get(name, [()])]


def test_the_sources_are_in_the_package() -> None:
    assert set(SOURCES) == {
        "context/causal.cu", "huffman/decode.cu", "huffman/linear.cu", "rans/decode.cu", "rans/encode.cu",
        "wavelet/analyze.cu",
    }  # fmt: skip
    assert not [name for name, source in SOURCES.items() if "#include" in source]


@needs_cuda_build
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize(("name", "defines"), CASES)
def test_machine_code_without_a_remark(name: str, defines: tuple[str, ...], arch: int) -> None:
    code, log = nvrtc.compile_source(SOURCES[name], name, arch, defines)
    assert log == ""
    assert code[:4] == b"\x7fELF"
    kernels = re.findall(
        r"__global__ void __launch_bounds__\((?:32|128|256|256, 4|256, BLOCKS|1024, 1)\)\s+(\w+)\(", SOURCES[name]
    )
    assert kernels and len(kernels) == SOURCES[name].count("__global__")
    assert all(kernel.encode() in code for kernel in kernels)


@needs_cuda_build
def test_a_newer_gpu_gets_ptx() -> None:
    code, _ = nvrtc.compile_source(SOURCES["rans/encode.cu"], "rans/encode.cu", 999)
    assert b".visible .entry encode_rans(" in code
    assert f".target sm_{nvrtc.architectures()[-1]}".encode() in code


@needs_cuda_build
def test_an_older_gpu_is_refused() -> None:
    with pytest.raises(RuntimeError, match="compute capability 20 is too old"):
        nvrtc.compile_source("", "empty.cu", 20)


@needs_cuda_build
def test_errors_of_the_compiler_are_shown() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)broken\.cu does not compile.*undefined_name"):
        nvrtc.compile_source("__global__ void f() { undefined_name(); }", "broken.cu", 80)


def test_without_nvrtc_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_candidates", lambda: iter(["/nowhere/libnvrtc.so.0"]))
    nvrtc.library.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"/nowhere/libnvrtc\.so\.0.*install"):
            nvrtc.architectures()
    finally:
        nvrtc.library.cache_clear()


def test_both_sides_mean_the_same_status() -> None:
    names = re.search(r"enum Status : u8 \{ (.*) \}", SOURCES["rans/decode.cu"])
    assert names is not None
    assert [getattr(status, name) for name in names[1].split(", ")] == list(range(len(names[1].split(", "))))
    pairs = re.findall(r"(\w+) = (\d+)", re.findall(r"enum Status : u8 \{.*\}", SOURCES["rans/encode.cu"])[0])
    assert pairs and all(getattr(status, name) == int(value) for name, value in pairs)
    assert set(status.FAULTS) | set(status.MISTAKES) == set(range(1, len(names[1].split(", "))))
