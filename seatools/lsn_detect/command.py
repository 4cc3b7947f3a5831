"""`sea lsn-detect`: flags in, a pass over each language, a neuron file and a report out."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seatools.lsn_detect.options import PARTS, TOP_K, DetectOptions, parse_parts
from seatools.streams.errors import UsageError
from seatools.streams.flags import (
    Config,
    Debug,
    Device,
    DryRun,
    DType,
    ErrorPolicy,
    Force,
    Json,
    Limit,
    OnError,
    OutputPath,
    Pattern,
    Quarantine,
    Quiet,
    Seed,
    Verbose,
    Workers,
    new_app,
    run_app,
)
from seatools.streams.messages import Messages
from seatools.streams.sizes import parse_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from seatools.engine.neurons import NeuronSet
    from seatools.lsn_detect.corpora import PackedBatch
    from seatools.streams.records import Rejects

app = new_app()
_D = DetectOptions()


class Method(StrEnum):
    """How neurons are chosen."""

    lape = "lape"
    plnd = "plnd"
    random = "random"


@app.command()
def lsn_detect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a Hugging Face model folder")],
    lang: Annotated[
        list[str] | None, typer.Option("--lang", metavar="LANG=GLOB", help="text of a language; once for each")
    ] = None,
    method: Annotated[Method, typer.Option("--method", help="how neurons are chosen")] = Method.lape,
    output: OutputPath = ...,  # type: ignore[assignment]
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="draw languages x layers (the plot extra)")
    ] = None,
    seq_len: Annotated[int, typer.Option("--seq-len", help="tokens in a packed row")] = _D.seq_len,
    max_tokens: Annotated[str, typer.Option("--max-tokens", metavar="N", help="tokens read per language")] = "1M",
    percentile: Annotated[
        float, typer.Option("--percentile", help="lape: active in a language is above this percentile")
    ] = _D.percentile,
    share: Annotated[float, typer.Option("--share", help="lape: share of all FFN neurons kept")] = _D.share,
    top_k: Annotated[
        float | None,
        typer.Option(
            "--top-k",
            metavar="SHARE",
            help=f"plnd: share of each layer and matrix taken in a document [{TOP_K}]; the released code takes 2,000 "
            "attention and 12,000 FFN neurons a layer for Llama, 1,000 and 2,000 for Mistral and Gemma 2",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="EPS", help="plnd: importance at least EPS, not --top-k")
    ] = None,
    min_docs: Annotated[
        float, typer.Option("--min-docs", metavar="SHARE", help="plnd: in this share of the documents; 1: in each")
    ] = _D.min_docs,
    parts: Annotated[
        str, typer.Option("--parts", help="plnd: of ffn,v,q,k; attention is v,q,k. q and k cost most")
    ] = ",".join(PARTS),
    min_doc_tokens: Annotated[
        int, typer.Option("--min-doc-tokens", metavar="N", help="plnd: leave shorter documents out")
    ] = _D.min_doc_tokens,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="FILE", help="random: as many neurons as in this neuron file")
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", metavar="N", help="tokens in a forward pass")
    ] = _D.batch_tokens,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="TOK", help="when it is not in MODEL")
    ] = None,
    pattern: Pattern = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: DType = "auto",
    workers: Workers = 0,
    limit: Limit = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
    on_error: OnError = ErrorPolicy.fail,
    quarantine: Quarantine = None,
    config: Config = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
    debug: Debug = False,
) -> None:
    """Find language-specific neurons.

    \b
    examples:
      sea lsn-detect MODEL --lang th=th.jsonl --lang en=en.jsonl --method lape -o neurons.safetensors
      sea lsn-detect MODEL --method random --like neurons.safetensors -o random.safetensors

    \b
    lape    FFN neurons that are active in few languages (arXiv 2402.16438)
    plnd    rows and columns of FFN and attention that matter in every document (arXiv 2402.18815)
    random  the control: as many per layer and matrix as in --like

    The file goes into `sea train --neurons` and `sea eval --deactivate`; the report, a record a language, to stdout.
    """
    messages = Messages(quiet, verbose)
    options = DetectOptions(
        method=method.value, seq_len=seq_len, max_tokens=parse_count(max_tokens), limit=limit, percentile=percentile,
        share=share, top_k=top_k, threshold=threshold, min_docs=min_docs, parts=parse_parts(parts),
        min_doc_tokens=min_doc_tokens, batch_tokens=batch_tokens, like_path=None if like is None else str(like),
        seed=seed, device=device, dtype=dtype,
    )  # fmt: skip
    if str(output) == "-":
        raise UsageError("-o names a file: the report goes to stdout", fix="-o neurons.safetensors")
    if plot is not None:
        from seatools.lsn_detect.heat_map import check_plot
        from seatools.streams.outputs import check_output

        check_plot(plot)
        check_output(plot, force=force)
    if options.method == "random":
        if lang:
            raise UsageError("--method random takes its languages from --like", fix="leave out --lang")
    elif not lang:
        raise UsageError("no --lang", fix="--lang th=FILE --lang en=FILE")
    _run(
        model, lang or [], output, options, force=force, dry_run=dry_run, json=json, workers=workers,
        plot=plot,
        on_error=on_error.value, quarantine=quarantine, tokenizer_path=tokenizer or model, pattern=pattern,
        messages=messages,
    )  # fmt: skip


def _run(
    model_path: Path, lang_arguments: list[str], out: Path, options: DetectOptions, *, force: bool, dry_run: bool,
    json: bool, workers: int, on_error: str, quarantine: str | None, tokenizer_path: Path, pattern: str | None,
    plot: Path | None, messages: Messages,
) -> None:  # fmt: skip
    import contextlib
    import sys

    from seatools.lsn_detect.corpora import corpora_digests, parse_corpora
    from seatools.streams.flags import prints_jsonl
    from seatools.streams.manifest import Manifest
    from seatools.streams.outputs import check_output, open_output
    from seatools.streams.quarantine import rejects_policy
    from seatools.streams.records import dump
    from seatools.streams.spool import spooled

    corpora = parse_corpora(lang_arguments)
    if options.method == "lape" and len(corpora) < 2:
        raise UsageError("LAPE compares languages and needs two at least", fix="another --lang, or --method plnd")
    inputs = [path for paths in corpora.values() for path in paths]
    check_output(out, force=force, inputs=inputs + ([options.like_path] if options.like_path else []))
    if out.resolve().is_relative_to(model_path.resolve()):
        raise UsageError(f"{out} lies inside the model's folder", fix="write to another folder")
    manifest = Manifest(command="lsn-detect", options=options, seed=options.seed)
    if dry_run:
        for name, paths in corpora.items():
            messages.info(f"{name}: {len(paths)} files, at most {options.max_tokens:,} tokens by {options.method}")
        messages.info(f"would write {out}; nothing is written")
        return

    with contextlib.ExitStack() as stack:
        rejects = stack.enter_context(rejects_policy(on_error, quarantine, out, messages, force=force))
        files, stdin_digest = stack.enter_context(spooled(inputs))
        spool = dict(zip(inputs, files, strict=True))
        corpora = {name: [spool[path] for path in paths] for name, paths in corpora.items()}
        digests = corpora_digests(corpora)

        from seatools.engine.load import open_model
        from seatools.engine.neurons import neuron_metadata, save_neurons
        from seatools.lsn_detect.report import print_table, report_rows
        from seatools.streams.digests import folder_digest

        model = open_model(model_path, device=options.device, dtype=options.dtype)
        model_digest = folder_digest(model_path)
        manifest.add_input(model_path, model_digest)
        reads: dict[str, dict[str, int]] = {}
        extra: dict[str, str] = {}
        if options.like_path is not None:
            from seatools.engine.neurons import check_architecture, load_neurons
            from seatools.lsn_detect.random_control import random_like

            known, theirs = load_neurons(options.like_path)
            check_architecture(theirs, model)
            sets = random_like(model, known, options.seed)
            manifest.add_input(options.like_path)
        else:
            sets, reads, extra = _detect(
                model, corpora, options, tokenizer_path=tokenizer_path, pattern=pattern,
                rejects=rejects, workers=workers, messages=messages,
            )  # fmt: skip
        metadata = neuron_metadata(
            model, method=options.method, thresholds=options.thresholds(), model_digest=model_digest, corpora=digests
        )
        with open_output(out, force=force, binary=True) as stream:
            save_neurons(stream, sets, metadata | extra)
        manifest.rejects = rejects.counts
    manifest.add_inputs(inputs, stdin_digest)
    rows = report_rows(model, sets, method=options.method, reads=reads)
    manifest.counts = {row["lang"]: {"neurons": row["num_neurons"], **reads.get(row["lang"], {})} for row in rows}
    manifest.write(out)
    if plot is not None:
        from seatools.lsn_detect.heat_map import draw_heat_map

        with open_output(plot, force=force, binary=True) as stream:
            draw_heat_map(rows, stream, plot.suffix.lower().removeprefix("."))
    if prints_jsonl(json):
        sys.stdout.buffer.write(b"".join(dump(row) + b"\n" for row in rows))
    else:
        print_table(rows, sys.stdout)
    messages.info(f"{out}: {sum(row['num_neurons'] for row in rows):,} neurons of {len(rows)} languages")


def _detect(
    model: PreTrainedModel, corpora: dict[str, list[str]], options: DetectOptions, *,
    tokenizer_path: Path, pattern: str | None, rejects: Rejects, workers: int, messages: Messages,
) -> tuple[NeuronSet, dict[str, dict[str, int]], dict[str, str]]:  # fmt: skip
    """The neurons, what was read of each language, and further metadata."""
    import orjson

    from seatools.engine.load import check_vocabulary
    from seatools.lsn_detect.corpora import CorpusCounts, packed_batches, token_documents
    from seatools.lsn_detect.detect import detect
    from seatools.streams.progress import Progress
    from seatools.text.documents import Documents
    from seatools.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_path, pattern=pattern)
    for note in tokenizer.notes:
        messages.debug(note)
    check_vocabulary(model, tokenizer.vocab_size, tokenizer_path)
    documents = Documents(tokenizer, add_eos=False)
    counts = {lang: CorpusCounts() for lang in corpora}

    def read(lang: str, count: CorpusCounts) -> Iterator[PackedBatch]:
        windows = token_documents(corpora[lang], documents, options, count, rejects=rejects, workers=workers)
        return packed_batches(
            windows, seq_len=options.seq_len, batch_tokens=options.batch_tokens, pad_id=tokenizer.pad_id or 0,
            device=model.device,
        )  # fmt: skip

    with Progress(options.method, unit="tokens", quiet=messages.quiet) as progress:
        found = detect(model, corpora, read, options, counts=counts, advance=progress.advance)
    for warning in found.warnings:
        messages.warn(warning)
    reads = {
        lang: {"tokens": count.num_tokens, "docs": count.num_docs, "short_docs": count.num_short}
        for lang, count in counts.items()
    }
    extra = {"reads": orjson.dumps(reads).decode(), "selection": orjson.dumps(found.facts).decode()}
    return found.sets, reads, extra


def main(argv: list[str]) -> int:
    """`sea lsn-detect ARGV`."""
    return run_app(app, "lsn-detect", argv)
