"""A Hugging Face Llama folder as a bf16 GGUF without a tokenizer: what llama.cpp's own script writes, without its torch. Needs numpy and gguf.

    python convert.py MODEL OUT.gguf
"""
import json
import sys
from pathlib import Path

import gguf
import numpy as np

from llama import leave_memory

model, out = Path(sys.argv[1]), sys.argv[2]
config = json.loads((model / "config.json").read_text())
heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
size = config.get("head_dim") or config["hidden_size"] // heads
file = model / "model.safetensors"
with file.open("rb") as stream:
    length = int.from_bytes(stream.read(8), "little")
    header = json.loads(stream.read(length))
data = np.memmap(file, np.uint8, "r", 8 + length)

writer = gguf.GGUFWriter(out, "llama")
writer.add_block_count(config["num_hidden_layers"])
writer.add_context_length(config["max_position_embeddings"])
writer.add_embedding_length(config["hidden_size"])
writer.add_feed_forward_length(config["intermediate_size"])
writer.add_head_count(heads)
writer.add_head_count_kv(kv_heads)
writer.add_key_length(size)
writer.add_value_length(size)
writer.add_rope_dimension_count(size)
writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
writer.add_rope_freq_base(config["rope_theta"])
writer.add_vocab_size(config["vocab_size"])
writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
writer.add_tokenizer_model("none")

scaling = config.get("rope_scaling")
if scaling:
    frequencies = 1 / config["rope_theta"] ** (np.arange(0, size, 2, dtype=np.float32) / size)
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    smooth = (scaling["original_max_position_embeddings"] * frequencies / (2 * np.pi) - low) / (high - low)
    writer.add_tensor("rope_freqs.weight", (1 / np.clip((1 - smooth) / factor + smooth, 1 / factor, 1)).astype(np.float32))


def permuted(rows, count):
    """Rows of rotary halves → rows of rotary pairs."""
    return rows.reshape(count, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
for name, tensor in header.items():
    if name == "__metadata__":
        continue
    if tensor["dtype"] != "BF16":
        sys.exit(f"{name} is {tensor['dtype']}; expected BF16")
    start, end = tensor["data_offsets"]
    rows = data[start:end].view(np.uint16).reshape(tensor["shape"])
    target = names.get_name(name, try_suffixes=(".weight",))
    if rows.ndim == 1:
        writer.add_tensor(target, (rows.astype(np.uint32) << 16).view(np.float32))
        continue
    if name.endswith("q_proj.weight"):
        rows = permuted(rows, heads)
    if name.endswith("k_proj.weight"):
        rows = permuted(rows, kv_heads)
    writer.add_tensor(target, rows.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
leave_memory()
