# SPDX-License-Identifier: Apache-2.0
"""`isthmus weights ...`: model weights without loss, from the command line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Make safetensors files a third smaller without changing a bit of any weight.\n\n"
    "bfloat16 weights carry about 2.6 bits of information in the 8 bits of their exponent: `compress` stores these "
    "as Huffman or rANS codes and leaves signs and mantissas as they are. `decompress` gives the same file back, "
    "byte for byte.",
)

Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="Default: as many as cores.")]
Base = Annotated[
    Path | None, typer.Option(help="Checkpoint that a fine-tuned one is stored relative to: file or folder.")
]


@app.command()
def compress(
    source: Annotated[Path, typer.Argument(help="model.safetensors, or a Hugging Face folder.")],
    target: Annotated[
        Path, typer.Argument(help="File to write, or to replace (model.df.safetensors by custom), or folder.")
    ],
    mode: Annotated[
        str, typer.Option("--mode", "-m", help="huffman decodes fastest; rans is about 0.3 % smaller.")
    ] = "huffman",
    base: Base = None,
    index: Annotated[
        bool, typer.Option("--index", help="Store the index for GPUs (0.8 %), else made when a file is loaded.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Compress a safetensors file, or every shard of a folder. Stopped, the same command goes on at the next shard.

    Example: isthmus weights compress model.safetensors model.df.safetensors

    Example: isthmus weights compress finetuned/ finetuned-delta/ --base original/
    """
    from isthmus import weights

    with _progress(source) as report:
        done = weights.compress(
            source, target, mode=mode, threads=threads, base=base, index=index, progress=report  # type: ignore[arg-type]
        )  # fmt: skip
    _tell(done)


@app.command()
def decompress(
    source: Annotated[Path, typer.Argument(help="File or folder made by `isthmus weights compress`.")],
    target: Annotated[Path, typer.Argument(help="File to write, or to replace, or folder.")],
    base: Base = None,
    threads: Threads = None,
) -> None:
    """Restore the original files, byte for byte; their SHA-256 is checked before they appear.

    Example: isthmus weights decompress model.df.safetensors model.safetensors
    """
    from isthmus import weights

    with _progress(source) as report:
        done = weights.decompress(source, target, threads=threads, base=base, progress=report)
    _tell(done)


@app.command()
def verify(
    source: Annotated[Path, typer.Argument(help="File or folder made by `isthmus weights compress`.")],
    base: Base = None,
    threads: Threads = None,
) -> None:
    """Decode everything and compare with the SHA-256 of the original; writes nothing.

    Example: isthmus weights verify model.df.safetensors
    """
    from isthmus import weights

    with _progress(source) as report:
        files = weights.verify(source, threads=threads, base=base, progress=report)
    for file in files:
        typer.echo(f"{file}: whole, every bit is the original's")


@app.command()
def inspect(
    source: Annotated[Path, typer.Argument(help="safetensors file or folder, compressed or not.")],
    plot: Annotated[Path | None, typer.Option(help="PNG to draw the tensors into.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show bits a weight of every tensor, as stored and as the entropy of its exponents would allow.

    Example: isthmus weights inspect model.safetensors --plot bits.png
    """
    from isthmus import weights
    from isthmus.weights import plot as picture
    from isthmus.weights.report import total

    if plot:
        if plot.suffix.lower() != ".png":
            raise ValueError(f"weights inspect: --plot {plot} must end in .png")
        if not plot.parent.is_dir():
            raise ValueError(
                f"weights inspect: --plot {plot}: the folder {plot.parent} does not exist: create it first"
            )
        picture.require_matplotlib()
    rows = weights.inspect(source)
    sums = total(rows)
    if as_json:
        typer.echo(json.dumps({"total": sums, "tensors": [asdict(row) for row in rows]}, indent=1))
    else:
        typer.echo(f"{'stored':>8} {'bound':>8} {'bytes':>12}  dtype    tensor")
        for row in rows:
            bound = "" if row.entropy_bits is None else f"{row.entropy_bits:8.3f}"
            kind = f"{row.dtype:8}"
            typer.echo(f"{row.stored_bits:8.3f} {bound:>8} {row.stored_bytes:12d}  {kind} {row.name} {list(row.shape)}")
        typer.echo(
            f"{len(rows)} tensors, {sums['bytes']:.0f} bytes stored in {sums['stored_bytes']:.0f} "
            f"({100 * sums['share']:.2f} %); floats {sums['stored_bits']:.3f} bits a weight, bound "
            f"{sums['entropy_bits']:.3f}"
        )
    if plot:
        picture.plot(rows, plot)
        typer.echo(f"written: {plot}")


@contextmanager
def _progress(source: Path) -> Iterator[Any]:
    """A bar over the bytes of all tensors, on a terminal alone."""
    from tqdm import tqdm

    from isthmus import weights

    with tqdm(total=weights.total_bytes(source), unit="B", unit_scale=True, disable=None) as bar:
        yield bar.update


def _tell(done: list[Any]) -> None:
    for one in done:
        share = 100 * one.target_bytes / one.source_bytes
        note = ", was there already" if one.skipped else ""
        typer.echo(f"{one.target}: {one.source_bytes} to {one.target_bytes} bytes, {share:.2f} %{note}")
        if one.kept:
            dtypes = ", ".join(f"{dtype} ({count})" for dtype, count in sorted(one.kept.items()))
            typer.echo(f"  tensors of these dtypes are kept as they are: {dtypes}")
