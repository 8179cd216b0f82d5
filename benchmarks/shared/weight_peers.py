# SPDX-License-Identifier: Apache-2.0
"""The coders of weights that ours is measured beside; each raises ImportError where it cannot be used here."""

import contextlib
import importlib.metadata
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Coder = tuple[Callable[[], Any], Callable[[Any], Any]]  # encode() and decode(what encode returned)
PACKAGES = ("zipnn", "dfloat11", "zstandard", "openzl", "bigsmall", "glyd")


def zipnn_coder(weights: np.ndarray) -> Coder:
    """zipnn on one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what torch calls deprecated
        from zipnn import ZipNN

        coder = ZipNN(bytearray_dtype="bfloat16", threads=1)
    data = weights.tobytes()
    return lambda: coder.compress(data), lambda packed: np.frombuffer(coder.decompress(packed), np.uint16)


def zstd_coder(weights: np.ndarray) -> Coder:
    """zstd at level 3 on the bytes as they are."""
    import zstandard

    data = weights.tobytes()
    return (
        lambda: zstandard.ZstdCompressor(level=3).compress(data),
        lambda packed: np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), np.uint16),
    )


def openzl_coder(weights: np.ndarray, graph: str) -> Coder:
    """OpenZL: its split of bf16, the sign and fraction stored, the exponent through a graph of that name."""
    from openzl import ext

    compressor = ext.Compressor()
    split = ext.nodes.BFloat16Deconstruct()(compressor, ext.graphs.Store(), getattr(ext.graphs, graph)())
    compressor.select_starting_graph(split)

    def encode() -> bytes:
        context = ext.CCtx()
        context.ref_compressor(compressor)
        context.set_parameter(ext.CParam.FormatVersion, ext.MAX_FORMAT_VERSION)
        return bytes(context.compress([ext.Input(ext.Type.Numeric, weights)]))

    return encode, lambda packed: np.asarray(ext.DCtx().decompress(packed)[0].content.as_nparray())


def glyd_coder(weights: np.ndarray) -> Coder:
    """glyd's codec for bytes on one thread; what packs models as such wants a GPU."""
    import glyd

    data = weights.tobytes()
    return (
        lambda: glyd.compress(data, level="max", threads=1),
        lambda packed: np.frombuffer(glyd.decompress(packed), np.uint16),
    )


def bigsmall_coder(weights: np.ndarray) -> Coder:
    """bigsmall from a safetensors file to a file and back, in one process; disk included."""
    from bigsmall import decoder, encoder
    from safetensors.torch import save_file
    from torch import bfloat16, from_numpy

    folder = tempfile.TemporaryDirectory()
    source, target = Path(folder.name) / "model.safetensors", Path(folder.name) / "model.bs"
    save_file({"w": from_numpy(weights.view(np.int16)).view(bfloat16)}, source)

    def encode() -> bytes:
        encoder.compress(source, target, workers=1, progress=False)
        return target.read_bytes()

    def decode(_: Any, keep: Any = folder) -> np.ndarray:
        return np.asarray(decoder.decompress(target, progress=False)["w"]).view(np.uint16).reshape(-1)

    return encode, decode


def dfloat11_coder(weights: np.ndarray, peers: Path | None) -> Coder:
    """DFloat11's encoder; its decoder is a CUDA kernel. The module is loaded by its path: the package wants cupy."""
    import torch

    paths = [*([peers] if peers else []), *(Path(p) for p in __import__("sys").path)]
    found = [p / "dfloat11" / "dfloat11_utils.py" for p in paths if (p / "dfloat11" / "dfloat11_utils.py").is_file()]
    if not found:
        raise ImportError("No module named 'dfloat11'")
    spec = importlib.util.spec_from_file_location("dfloat11_utils", found[0])
    if spec is None or spec.loader is None:
        raise ImportError(f"{found[0]} cannot be loaded")
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    tensor = torch.from_numpy(weights.view(np.int16)).view(torch.bfloat16)

    def encode() -> bytes:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            _, counter = utils.get_codec(tensor)
            codec, _, table = utils.get_32bit_codec(counter)
            luts = utils.get_luts(table)
            parts = utils.encode_weights([tensor], codec, 8, 512)
        return b"".join(part.numpy().tobytes() for part in (luts, *parts))

    def decode(_: Any) -> np.ndarray:
        raise ImportError("its decoder is a CUDA kernel")

    return encode, decode


def versions() -> dict[str, str]:
    """What is installed of each peer."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
