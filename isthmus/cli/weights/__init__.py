# SPDX-License-Identifier: Apache-2.0
"""`isthmus weights ...`: model weights without loss, from the command line."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli.pipes import is_pipe, piped, readable, renamed
from isthmus.cli.progress import progress
from isthmus.cli.weights.lines import Told, going_on, tell_estimate, tell_left_out

app = typer.Typer(
    no_args_is_help=True,
    help="Make safetensors files a third smaller without changing a bit of any weight.\n\n"
    "bfloat16 weights carry about 2.6 bits of information in the 8 bits of their exponent: `compress` stores these "
    "as Huffman or rANS codes and leaves signs and mantissas as they are. `decompress` gives the same file back, "
    "byte for byte.\n\n"
    "A folder that is a target may have other files, which stay. A file there is replaced only if it holds the same "
    "original; anything else of a name that is needed is refused before a byte is written. Hidden files and folders, "
    "pipes and devices of a source are left out.",
)

Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="Default: as many as cores.")]
Base = Annotated[
    Path | None, typer.Option(help="Checkpoint that a fine-tuned one is stored relative to: file or folder.")
]


Patterns = list[str] | None


@app.command()
def compress(
    source: Annotated[Path, typer.Argument(help="model.safetensors, or a Hugging Face folder; - is standard input.")],
    target: Annotated[
        str | None,
        typer.Argument(
            help="File to write, called model.dfloat by convention, or folder; a new one with a / behind. Of what is "
            "there only a compressed file that is named here is replaced, or what holds the same weights."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            "-m",
            help="huffman decodes fastest; rans is about 0.3 % smaller, and far smaller for deltas.  "
            r"\[default: huffman; rans with --base]",
        ),
    ] = None,
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
    """Compress a safetensors file, or every shard of a folder.

    Stopped, the same command goes on: shards that are there already are decoded and compared with their originals, and
    one that is damaged is made again.

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
    if in_place and delete_source:
        raise ValueError("weights compress: --in-place removes the source by itself; --delete-source is for a target")
    if in_place and target is not None:
        raise ValueError(f"weights compress: --in-place takes no target, but {target} is given")
    if target is None and not in_place and not dry_run:
        raise ValueError("weights compress: give a target, or --in-place to replace the source")
    tell_left_out(source)
    if dry_run:
        tell_estimate(weights.estimate(source, **options))
        return
    note = "compressed already, verified" if in_place or delete_source else "compressed already, as it was"
    with (
        piped(source, target, ".dfloat") as (source, place, err),
        going_on(source),
        progress(weights.total_bytes(source), err=err) as shown,
    ):
        told = Told(renamed(shown.echo, place, target), note, "names the compressed weights")
        weights.compress(
            source, place, in_place=in_place, delete_source=delete_source, progress=shown.update, told=told.file,
            **options,
        )  # fmt: skip
        told.sums()


@app.command()
def decompress(
    source: Annotated[Path, typer.Argument(help="File or folder made by `isthmus weights compress`.")],
    target: Annotated[
        str,
        typer.Argument(
            help="File to write, or folder; a new one with a / behind. What is there is kept where it is the original, "
            "and else refused."
        ),
    ],
    base: Base = None,
    threads: Threads = None,
) -> None:
    """Restore the original files, byte for byte; their SHA-256 is checked before they appear.

    Stopped, the same command goes on at the next shard.

    Example: isthmus weights decompress model.dfloat model.safetensors
    """
    from isthmus import weights

    tell_left_out(source)
    with (
        piped(source, target, ".safetensors") as (source, place, err),
        going_on(source),
        progress(weights.total_bytes(source), err=err) as shown,
    ):
        told = Told(renamed(shown.echo, place, target), "not compressed, as it was", "the original again")
        weights.decompress(source, place, threads=threads, base=base, progress=shown.update, told=told.file)
        told.sums()


@app.command()
def verify(
    source: Annotated[Path, typer.Argument(help="File or folder made by `isthmus weights compress`.")],
    base: Base = None,
    threads: Threads = None,
) -> None:
    """Decode everything and compare with the SHA-256 of the original; writes nothing.

    Covers every compressed shard of a folder, and that all shards which an index names are there and compressed. Not
    covered: plain shards that no such index names, of which nothing tells whether they are whole, and other files.

    Example: isthmus weights verify model.dfloat
    """
    from isthmus import weights

    tell_left_out(source)
    with readable(source) as place:
        with progress(weights.total_bytes(place)) as shown:
            files = weights.verify(place, threads=threads, base=base, progress=shown.update)
        plain = weights.plain_shards(place)
    for file in files:
        typer.echo(f"{source if is_pipe(source) else file}: whole, every bit is the original's")
    for file in plain:
        typer.echo(f"{file}: plain, so there is nothing to verify")


@app.command()
def inspect(
    source: Annotated[Path, typer.Argument(help="safetensors file or folder, compressed or not.")],
    plot: Annotated[Path | None, typer.Option(help="PNG to draw the tensors into.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show bits a weight of every tensor, as stored and as the order-0 entropy of its bytes.

    The entropy is that of first bytes, second bytes and so on with one table for the whole tensor, mantissas that are
    nearly uniform counted as they are. It is no bound: rans, with a table for each 2**18 weights, may take less.

    Example: isthmus weights inspect model.safetensors --plot bits.png
    """
    from isthmus import weights
    from isthmus.weights.reports import plot as picture
    from isthmus.weights.reports.report import total

    if plot:
        if plot.suffix.lower() != ".png":
            raise ValueError(f"weights inspect: --plot {plot} must end in .png")
        if not plot.parent.is_dir():
            raise ValueError(
                f"weights inspect: --plot {plot}: the folder {plot.parent} does not exist: create it first"
            )
        picture.require_matplotlib()
    tell_left_out(source)
    with readable(source) as place:
        rows = weights.inspect(place)
    sums = total(rows)
    if as_json:
        typer.echo(json.dumps({"total": sums, "tensors": [asdict(row) for row in rows]}, indent=1))
    else:
        typer.echo(f"{'stored':>8} {'entropy':>8} {'bytes':>12}  dtype    tensor")
        for row in rows:
            entropy = "" if row.entropy_bits is None else f"{row.entropy_bits:8.3f}"
            kind = f"{row.dtype:8}"
            typer.echo(
                f"{row.stored_bits:8.3f} {entropy:>8} {row.stored_bytes:12d}  {kind} {row.name} {list(row.shape)}"
            )
        typer.echo(
            f"{len(rows)} tensors, {sums['bytes']:.0f} bytes stored in {sums['stored_bytes']:.0f} "
            f"({100 * sums['share']:.2f} %); floats {sums['stored_bits']:.3f} bits a weight, order-0 "
            f"entropy {sums['entropy_bits']:.3f}"
        )
    if plot:
        picture.plot(rows, plot)
        typer.echo(f"written: {plot}")
