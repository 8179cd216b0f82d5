# SPDX-License-Identifier: Apache-2.0
"""Compressed folders in transformers: its own `from_pretrained` and ours give the model of the plain folder."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import transformers as T
from safetensors.torch import load_file, save_file

from isthmus import weights
from isthmus.errors import CorruptStreamError
from isthmus.weights.attached.tensors.tensor import CompressedTensor
from tests.weights.attached.small_models import same_bits
from tests.weights.huggingface.folders import IDS, SIZE, answer, llama, make, save

pytestmark = pytest.mark.filterwarnings("ignore")
AUTO = T.AutoModelForCausalLM


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_strangers_own_call(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    wanted, found = AUTO.from_pretrained(plain, dtype="auto"), AUTO.from_pretrained(df, dtype="auto")
    assert same_bits(answer(found), answer(wanted))
    assert sum(isinstance(p, CompressedTensor) for p in found.parameters()) == 16
    report = weights.attachment_of(found).report()
    assert report.held_bytes < 0.9 * report.plain_bytes and report.unused == report.missing == ()
    assert [n for n, _ in found.named_parameters()] == [n for n, _ in wanted.named_parameters()]
    assert [p.requires_grad for p in found.parameters()] == [p.requires_grad for p in wanted.parameters()]
    assert found.num_parameters() == wanted.num_parameters() and found.dtype == wanted.dtype


def test_our_call_returns_the_model_with_options(tmp_path: Path) -> None:
    plain, df = save(llama(tie_word_embeddings=True), tmp_path)
    model = weights.from_pretrained(df, AUTO, dtype="auto", threads=1, blocks=[""])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert same_bits(answer(model), answer(AUTO.from_pretrained(plain, dtype="auto")))
    model, told = weights.from_pretrained(df, T.LlamaForCausalLM, output_loading_info=True)
    assert not told["missing_keys"] and weights.attachment_of(model)
    with pytest.raises(ValueError, match=r"plain: not compressed; make a folder with `isthmus weights compress`"):
        weights.from_pretrained(plain, AUTO)


def test_without_isthmus_nothing_is_loaded(tmp_path: Path) -> None:
    _, df = save(llama(), tmp_path)
    done = run(f"import transformers as T; T.AutoModelForCausalLM.from_pretrained({str(df)!r}); print('loaded')")
    assert done.returncode != 0 and "loaded" not in done.stdout and "isthmus-dfloat" in done.stderr
    load = f"m = T.AutoModelForCausalLM.from_pretrained({str(df)!r}); print(type(m.lm_head.weight).__name__)"
    orders = ("import isthmus.weights, transformers as T", "import transformers as T, isthmus.weights",
              "import transformers as T; T.PreTrainedModel; import isthmus.weights")  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        for ended in pool.map(run, [f"{imports}; {load}" for imports in orders]):
            assert ended.stdout.strip() == "CompressedTensor"
    light = "import sys, isthmus.weights, isthmus.cli.weights; print('transformers' in sys.modules)"
    assert run(light).stdout.strip() == "False"


def test_generation_config_and_buffers(tmp_path: Path) -> None:
    plain, _ = save(llama(), tmp_path)
    told = {"eos_token_id": [2, 77], "repetition_penalty": 1.9, "max_new_tokens": 6}
    (plain / "generation_config.json").write_text(json.dumps(told))
    weights.compress(plain, tmp_path / "again")
    models = [AUTO.from_pretrained(folder, dtype="auto") for folder in (plain, tmp_path / "again")]
    assert torch.equal(*(model.generate(IDS) for model in models))
    assert models[0].generate(IDS).shape[1] == IDS.shape[1] + 6
    gptj = T.GPTJConfig(n_embd=256, n_layer=2, n_head=4, vocab_size=512, rotary_dim=16, n_positions=64)
    plain, df = save(gptj, tmp_path / "gptj")
    assert same_bits(answer(AUTO.from_pretrained(df, dtype="auto")), answer(AUTO.from_pretrained(plain, dtype="auto")))


def test_dtypes_as_the_file_has_them(tmp_path: Path) -> None:
    config = T.T5Config(d_model=256, d_ff=512, num_layers=1, num_heads=4, d_kv=64, vocab_size=512,
                        decoder_start_token_id=0)  # fmt: skip
    auto = T.AutoModelForSeq2SeqLM
    single, _ = save(config, tmp_path, auto, torch.float32)
    wanted = auto.from_pretrained(single, dtype=torch.float16)
    wanted.save_pretrained(tmp_path / "mixed")
    weights.compress(tmp_path / "mixed", tmp_path / "made")
    inputs = {"input_ids": IDS, "decoder_input_ids": IDS}
    attached = auto.from_config(T.AutoConfig.from_pretrained(tmp_path / "made")).half().eval()
    weights.attach(attached, tmp_path / "made")
    for model in (auto.from_pretrained(tmp_path / "made", dtype=torch.float16), attached):
        assert model.encoder.block[0].layer[1].DenseReluDense.wo.weight.dtype == torch.float32
        assert same_bits(answer(model, **inputs), answer(wanted, **inputs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_dtype_that_the_user_wants(dtype: torch.dtype, tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    wanted, found = (AUTO.from_pretrained(folder, dtype=dtype) for folder in (plain, df))
    assert found.lm_head.weight.dtype == dtype and isinstance(found.lm_head.weight, CompressedTensor)
    assert same_bits(answer(found), answer(wanted))


def test_shards_and_what_lies_beside_them(tmp_path: Path) -> None:
    plain, _ = save(llama(), tmp_path)
    model = AUTO.from_pretrained(plain, dtype="auto")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="1MB")
    other = make(llama())
    other.save_pretrained(tmp_path / "other")
    for stray in ("consolidated.safetensors", "model.fp16.safetensors", "model-00009-of-00009.safetensors"):
        (tmp_path / "sharded" / stray).write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    weights.compress(tmp_path / "sharded", tmp_path / "made")
    assert len(weights.weight_files(tmp_path / "made")) == len(weights.weight_files(tmp_path / "sharded")) > 1
    loaded = AUTO.from_pretrained(tmp_path / "made", dtype="auto")
    assert same_bits(answer(loaded), answer(model))
    loaded.save_pretrained(tmp_path / "again", max_shard_size="1MB")
    for shard in (tmp_path / "again").glob("*.safetensors*"):
        assert shard.read_bytes() == (tmp_path / "sharded" / shard.name).read_bytes()
    fresh = make(llama())
    assert weights.attach(fresh, tmp_path / "made").unused == ()
    assert same_bits(answer(fresh), answer(model))


def test_a_base_model_in_one_with_a_head(tmp_path: Path) -> None:
    config = T.BertConfig(**SIZE, vocab_size=512)
    plain, df = save(config, tmp_path, T.AutoModel)
    model = T.AutoModelForSequenceClassification.from_config(config).bfloat16().eval()
    with pytest.raises(ValueError, match="the source has no classifier.weight, classifier.bias"):
        weights.attach(model, df)
    attachment = weights.attach(model, df, strict=False)
    assert attachment.missing == ("classifier.weight", "classifier.bias")
    assert attachment.report().missing == attachment.missing and attachment.report().tensors > 5
    base = T.AutoModel.from_pretrained(plain, dtype="auto")
    assert same_bits(answer(model.bert), answer(base))
    other = make(llama())
    with pytest.raises(ValueError, match="none of the source's tensors is the model's: it has .*embeddings"):
        weights.attach(other, df, strict=False)


def test_saving_writes_plain_weights(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    model = AUTO.from_pretrained(df, dtype="auto")
    model.save_pretrained(tmp_path / "saved")
    files = {path.name for path in (tmp_path / "saved").iterdir()}
    assert files == {"config.json", "generation_config.json", "model.safetensors"}
    assert (tmp_path / "saved" / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
    assert "dfloat" not in (tmp_path / "saved" / "config.json").read_text()
    model.model.save_pretrained(tmp_path / "part")
    part = T.AutoModel.from_pretrained(tmp_path / "part", dtype="auto")
    assert same_bits(answer(part), answer(model.model))
    weights.compress(tmp_path / "saved", tmp_path / "again")
    assert same_bits(answer(AUTO.from_pretrained(tmp_path / "again", dtype="auto")), answer(model))


def test_a_checkpoint_of_another_quantization_gets_ordinary_tensors(tmp_path: Path) -> None:
    from isthmus.weights.huggingface.tensors import state_dict_of

    _, df = save(llama(), tmp_path)
    config = json.loads((df / "config.json").read_text())
    assert any(isinstance(t, CompressedTensor) for t in state_dict_of(df / "model.dfloat").values())
    config["quantization_config"] = {"quant_method": "fp8"}
    (df / "config.json").write_text(json.dumps(config))
    assert not any(isinstance(t, CompressedTensor) for t in state_dict_of(df / "model.dfloat").values())


def test_a_delta(tmp_path: Path) -> None:
    plain, _ = save(llama(), tmp_path)
    tuned = AUTO.from_pretrained(plain, dtype="auto")
    with torch.no_grad():
        tuned.lm_head.weight[:3] *= 1.5
    tuned.save_pretrained(tmp_path / "tuned")
    weights.compress(tmp_path / "tuned", tmp_path / "delta", base=plain)
    model = weights.from_pretrained(tmp_path / "delta", AUTO, base=plain, dtype="auto")
    assert same_bits(answer(model), answer(tuned))
    with pytest.raises(Exception, match="give the base checkpoint"):
        AUTO.from_pretrained(tmp_path / "delta", dtype="auto")


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    model = make(llama())
    index = df / "model.dfloat.safetensors.index.json"
    told = json.loads(index.read_text())
    for name, problem in (("gone.dfloat", "shard gone.dfloat is not there"), ("../x.dfloat", "no file name within")):
        told["weight_map"]["lm_head.weight"] = name
        index.write_text(json.dumps(told))
        with pytest.raises(CorruptStreamError, match=problem):
            weights.attach(model, df)
    weights.compress(plain, tmp_path / "good")
    df = tmp_path / "good"
    with pytest.raises(ValueError, match="'disk'"):
        AUTO.from_pretrained(df, device_map={"": "cpu", "model.layers.1": "disk"}, offload_folder=str(tmp_path / "o"))
    with pytest.raises(ValueError, match=r"device names 'modle', .* did you mean 'model'\?"):
        AUTO.from_pretrained(df, device_map={"modle": "cpu", "lm_head": "cpu"})
    data = bytearray((df / "model.dfloat").read_bytes())
    data[8] ^= 255
    (df / "model.dfloat").write_bytes(data)
    with pytest.raises(CorruptStreamError, match="model.dfloat"):
        AUTO.from_pretrained(df, dtype="auto")


def test_other_weights_of_a_compressed_folder_are_refused(tmp_path: Path) -> None:
    plain, _ = save(llama(), tmp_path)
    make(llama()).save_pretrained(plain, variant="ema")
    weights.compress(plain, tmp_path / "both")
    with pytest.raises(ValueError, match="variant='ema' of a compressed folder"):
        AUTO.from_pretrained(tmp_path / "both", variant="ema")
    with pytest.raises(ValueError, match="use_safetensors=False of a compressed folder"):
        AUTO.from_pretrained(tmp_path / "both", use_safetensors=False)
    assert AUTO.from_pretrained(tmp_path / "both", use_safetensors=True)


def test_plain_weights_saved_beside_compressed_ones(tmp_path: Path) -> None:
    plain, df = save(llama(), tmp_path)
    AUTO.from_pretrained(plain, dtype="auto").save_pretrained(df)
    for read in (weights.load_file, lambda path: weights.attach(make(llama()), path)):
        with pytest.raises(CorruptStreamError, match="has plain weights, model.safetensors, beside compressed ones"):
            read(df)


def test_a_tied_model_whose_file_has_both(tmp_path: Path) -> None:
    plain, _ = save(llama(tie_word_embeddings=True), tmp_path)
    tensors = load_file(plain / "model.safetensors")
    for name, head in (("same", tensors["model.embed_tokens.weight"].clone()),
                       ("other", tensors["model.embed_tokens.weight"] * 2)):  # fmt: skip
        save_file({**tensors, "lm_head.weight": head}, plain / "model.safetensors", {"format": "pt"})
        weights.compress(plain, tmp_path / name)
        found, wanted = (AUTO.from_pretrained(folder, dtype="auto") for folder in (tmp_path / name, plain))
        assert same_bits(answer(found), answer(wanted))
        assert (found.lm_head.weight is found.model.embed_tokens.weight) == (
            wanted.lm_head.weight is wanted.model.embed_tokens.weight
        )


def test_a_model_that_changes_its_weights_when_they_are_loaded(tmp_path: Path) -> None:
    class Swapping(T.LlamaForCausalLM):
        def tie_weights(self, *args: object, **kwargs: object) -> None:
            super().tie_weights(*args, **kwargs)
            attention = self.model.layers[0].self_attn
            q, k = attention.q_proj.weight, attention.k_proj.weight
            if not q.is_meta and not getattr(self, "done", False):
                self.done = True
                with torch.no_grad():
                    old = q.clone()
                    q.copy_(k)
                    k.copy_(old)
                    k[2:3].mul_(2)
                    assert q.max().item() and bool((q != k).any())

    plain, df = save(llama(), tmp_path)
    wanted, found = (Swapping.from_pretrained(folder, dtype=torch.bfloat16) for folder in (plain, df))
    assert wanted.done and found.done
    for (_, a), (_, b) in zip(wanted.named_parameters(), found.named_parameters(), strict=True):
        assert same_bits(a.detach(), b.detach().clone())
    assert same_bits(answer(found), answer(wanted))


def test_dtypes_that_only_some_tensors_have(tmp_path: Path) -> None:
    plain, _ = save(llama(), tmp_path)
    tensors = load_file(plain / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"].float() * 1.001
    save_file(tensors, plain / "model.safetensors", {"format": "pt"})
    weights.compress(plain, tmp_path / "made")
    model = make(llama())
    weights.attach(model, tmp_path / "made")
    assert same_bits(answer(model), answer(AUTO.from_pretrained(plain, dtype=torch.bfloat16)))
