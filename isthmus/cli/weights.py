# SPDX-License-Identifier: Apache-2.0
"""`isthmus weights ...`: model weights without loss, from the command line."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.progress import progress

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


Patterns = list[str] | None


@app.command()
def compress(
    source: Annotated[Path, typer.Argument(help="model.safetensors, or a Hugging Face folder.")],
    target: Annotated[
        str | None,
        typer.Argument(
            help="File to write, or to replace (model.dfloat by custom), or folder; a new one with a / behind."
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", "-m", help="huffman decodes fastest; rans is about 0.3 % smaller.")
    ] = "huffman",
    base: Base = None,
    index: Annotated[
        bool, typer.Option("--index", help="Store the index for GPUs (0.8 %), else made when a file is loaded.")
    ] = False,
    include: Annotated[Patterns, typer.Option(help='Code only tensors of such names: "*.mlp.*"; repeatable.')] = None,
    exclude: Annotated[Patterns, typer.Option(help="Leave tensors of such names as they are; repeatable.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace each shard by its compressed form, once that is verified.")
    ] = False,
    delete_source: Annotated[
        bool, typer.Option("--delete-source", help="Delete each source shard, once its compressed form is verified.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what size to expect, from a sample; write nothing.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Compress a safetensors file, or every shard of a folder. Stopped, the same command goes on at the next shard.

    Example: isthmus weights compress model.safetensors model.dfloat

    Example: isthmus weights compress llama/ llama-dfloat/

    Example: isthmus weights compress llama/ --in-place

    Example: isthmus weights compress finetuned/ finetuned-delta/ --base original/
    """
    from isthmus import weights

    options: dict[str, Any] = {
        "mode": mode, "threads": threads, "base": base, "index": index,
        "include": include or (), "exclude": exclude or (),
    }  # fmt: skip
    if dry_run:
        _tell_estimate(weights.estimate(source, **options))
        return
    if in_place and target is not None:
        raise ValueError(f"weights compress: --in-place takes no target, but {target} is given")
    if target is None and not in_place:
        raise ValueError("weights compress: give a target, or --in-place to replace the source")
    with progress(weights.total_bytes(source)) as shown:
        told = _Told(shown.echo, "compressed already, as it was")
        weights.compress(
            source, target, in_place=in_place, delete_source=delete_source, progress=shown.update, told=told.file,
            **options,
        )  # fmt: skip
        told.sums()


@app.command()
def decompress(
    source: Annotated[Path, typer.Argument(help="File or folder made by `isthmus weights compress`.")],
    target: Annotated[str, typer.Argument(help="File to write, or to replace, or folder; a new one with a / behind.")],
    base: Base = None,
    threads: Threads = None,
) -> None:
    """Restore the original files, byte for byte; their SHA-256 is checked before they appear.

    Example: isthmus weights decompress model.dfloat model.safetensors
    """
    from isthmus import weights

    with progress(weights.total_bytes(source)) as shown:
        told = _Told(shown.echo, "not compressed, as it was")
        weights.decompress(source, target, threads=threads, base=base, progress=shown.update, told=told.file)
        told.sums()


@app.command()
def verify(
    source: Annotated[Path, typer.Argument(help="File or folder made by `isthmus weights compress`.")],
    base: Base = None,
    threads: Threads = None,
) -> None:
    """Decode everything and compare with the SHA-256 of the original; writes nothing.

    Example: isthmus weights verify model.dfloat
    """
    from isthmus import weights

    with progress(weights.total_bytes(source)) as shown:
        files = weights.verify(source, threads=threads, base=base, progress=shown.update)
    for file in files:
        typer.echo(f"{file}: whole, every bit is the original's")
    for file in weights.plain_shards(source):
        typer.echo(f"{file}: plain, so there is nothing to verify")


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


class _Told:
    """Prints what is done as it is done. as_it_was: said of shards that are copied."""

    def __init__(self, echo: Callable[[str], None], as_it_was: str) -> None:
        self._echo, self._as_it_was = echo, as_it_was
        self._shards: list[Any] = []
        self._others: list[Any] = []

    def file(self, one: Any) -> None:
        """A `weights.Done`."""
        if one.copied and one.source.suffix not in (".safetensors", ".dfloat"):
            self._others.append(one)
            return
        self._shards.append(one)
        note = f", {self._as_it_was}" if one.copied else ", was there already" if one.skipped else ""
        self._echo(f"{one.target}: {_sizes([one])}{note}")
        if one.kept:
            dtypes = ", ".join(f"{dtype} ({count})" for dtype, count in sorted(one.kept.items()))
            self._echo(f"  tensors of these dtypes are kept as they are: {dtypes}")

    def sums(self) -> None:
        """The lines at the end, for a folder."""
        if self._others:
            size = sum(one.source_bytes for one in self._others)
            self._echo(f"other files copied as they are: {len(self._others)}, {size} bytes")
        if len(self._shards) > 1:
            self._echo(f"total of {len(self._shards)} files of weights: {_sizes(self._shards)}")


def _sizes(done: list[Any]) -> str:
    before, after = sum(one.source_bytes for one in done), sum(one.target_bytes for one in done)
    return f"{before} to {after} bytes, {100 * after / before:.2f} %"


def _tell_estimate(found: Any) -> None:
    share = 100 * found.target_bytes / found.source_bytes
    typer.echo(
        f"about {found.source_bytes} to {found.target_bytes} bytes, {share:.1f} %, judging by a sample of "
        f"{found.sampled_bytes} bytes; nothing was written"
    )
    reasons = {
        "asked": "left out by --include and --exclude",
        "no gain": "would not get smaller, judging by the sample",
        "compressed already": "in files that are compressed already",
    }
    for reason, (tensors, size) in sorted(found.raw.items()):
        why = reasons.get(reason, f"{reason} is never coded")
        typer.echo(f"  kept as they are, {why}: {size} bytes in {tensors} tensor{'s' if tensors > 1 else ''}")
