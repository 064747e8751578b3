"""Cases of test/fixtures that are another case's weights under a changed configuration, with what transformers computes.

  python scripts/text_variants.py            # writes all of them again

Made with: Python 3.11, torch 2.15, transformers 5.24, CPU, float32, eager. Nothing is drawn at random: weights, tokenizer and
prompts are those of the case that a variant is made from.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import Cache

FIXTURES = Path(__file__).resolve().parent.parent / "test/fixtures"
NEW_TOKENS = 24
TOLERANCE = 3e-4
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
transformers.utils.logging.disable_progress_bar()

LONGROPE = {
    "type": "longrope", "factor": 6.0,
    "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.45, 1.6, 1.7, 1.8],
    "long_factor": [1.1, 1.35, 1.9, 2.6, 3.4, 4.0, 4.5, 6.0, 7.0, 8.0],
}
VARIANTS = [
    {
        "name": "llama-longrope", "of": "mistral-full", "cross": 26,
        "what": "longrope in a family other than phi3: factor 6 counts, not 128 / 32; the prompt `cross` of 26 ids is at 50 with "
                "its answer, and generate() keeps the keys of the first 32 positions as they are",
        "keys": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128,
                 "original_max_position_embeddings": 32, "rope_theta": 6000.0, "rope_scaling": LONGROPE},
        "without": ["sliding_window", "rope_parameters"],
    },
    {
        "name": "mistral-layer-types", "of": "mistral-sliding",
        "what": "layer_types in a mistral: AutoModel reads it as ministral, whose layers slide by type",
        "keys": {"head_dim": 16, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    },
]


def load(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def answer(model, ids):
    """Greedy ids by generate(), no stop token, and the distances between the two best logits."""
    out = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long(), do_sample=False, max_new_tokens=NEW_TOKENS,
        eos_token_id=-1, pad_token_id=0, return_dict_in_generate=True, output_logits=True)
    margins = [float(-torch.topk(row[0], 2).values.diff()) for row in out.logits]
    return out.sequences[0, len(ids):].tolist(), margins


@torch.no_grad()
def layer_values(model, ids):
    """Inputs of the layers and the output of the last one; keys and values as they go into the cache."""
    layers, states, seen, update = model.model.layers, [], [], Cache.update
    hooks = [layer.register_forward_pre_hook(lambda _, args: states.append(args[0][0].clone())) for layer in layers]
    last = lambda _, __, out: states.append((out[0] if isinstance(out, tuple) else out)[0].clone())
    hooks.append(layers[-1].register_forward_hook(last))
    flat = lambda t: t[0].transpose(0, 1).reshape(t.shape[2], -1)

    def record(cache, keys, values, *rest, **more):
        seen.append((flat(keys.detach().clone()), flat(values.detach().clone())))
        return update(cache, keys, values, *rest, **more)

    Cache.update = record
    logits = model(input_ids=torch.tensor([ids]), use_cache=True).logits[0]
    Cache.update = update
    for hook in hooks:
        hook.remove()
    keys, values = zip(*seen)
    stack = lambda tensors: torch.stack(list(tensors)).numpy()
    return {"logits": logits.numpy(), "hidden": stack(states), "keys": stack(keys), "values": stack(values)}


def origin(folder: Path, title: str, lines: list[str]) -> None:
    made = f"Made by scripts/text_variants.py with transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, CPU, float32, eager."
    (folder / "ORIGIN.md").write_text("\n".join([f"# {title}", made, "Command: python scripts/text_variants.py; no seed: nothing is random.", *lines]) + "\n")


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def variant(case) -> None:
    base, folder = FIXTURES / "text" / case["of"], FIXTURES / "text" / case["name"]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.npy", "ORIGIN.md"))
    config = json.loads((base / "config.json").read_text())
    config = {key: value for key, value in config.items() if key not in case.get("without", [])} | case["keys"]
    write_json(folder / "config.json", config)
    model, tokenizer = load(folder), AutoTokenizer.from_pretrained(folder)
    expected = json.loads((base / "expected/expected.json").read_text())
    expected |= {"case": case["name"], "model_type": config["model_type"], "tolerance": TOLERANCE}
    if "cross" in case:
        ids = expected["prompts"]["long"]["ids"][:case["cross"]]
        text = tokenizer.decode(ids, skip_special_tokens=True)
        assert tokenizer(text)["input_ids"] == ids
        expected["prompts"]["cross"] = {"text": text, "ids": ids}
    for prompt in expected["prompts"].values():
        new, margins = answer(model, prompt["ids"])
        prompt |= {"new_ids": new, "new_text": tokenizer.decode(new), "margins": [round(m, 4) for m in margins],
                   "min_margin": round(min(margins), 4)}
        assert min(margins) > 0.02, (case["name"], min(margins))
    types = getattr(model.config, "layer_types", None)
    if types is not None:
        expected["layer_types"] = types
    write_json(folder / "expected/expected.json", expected)
    short = layer_values(model, expected["prompts"]["short"]["ids"])
    for name, array in short.items():
        np.save(folder / f"expected/{name}_short.npy", array)
    with torch.no_grad():
        long = model(torch.tensor([expected["prompts"]["long"]["ids"]]), use_cache=False).logits[0].numpy()
    np.save(folder / "expected/logits_long.npy", long)
    exact = model.double()
    error = max(float(np.abs(exact(torch.tensor([expected["prompts"][key]["ids"]])).logits[0].detach().numpy() - logits).max())
                for key, logits in (("short", short["logits"]), ("long", long)))
    changed = float(np.abs(np.load(base / "expected/logits_long.npy") - long).max())
    print(case["name"], "margins", [p["min_margin"] for p in expected["prompts"].values()], "float64", error, "base", changed)
    origin(folder, f"{case['name']} (weights, tokenizer and prompts of {case['of']})", [
        f"Changed in config.json: {json.dumps(case['keys'])}; without {json.dumps(case.get('without', []))}.",
        f"{case['what']}.",
        "new_ids are those of generate(); the other values are those of one pass over the prompt, as the set of text cases has them.",
        f"Tolerance: {TOLERANCE} absolute (float32 against float64 differs by {error:.1e} here); ids exact.",
        f"Largest difference of a logit of the long prompt from {case['of']}: {changed:.3g}."])


def own_head() -> None:
    """A tied configuration over a checkpoint that stores another head: the embedding's rows in reverse order."""
    base, folder = FIXTURES / "text/qwen2-tied", FIXTURES / "own-head"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    prompts = json.loads((base / "expected/expected.json").read_text())["prompts"]
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "model"
        shutil.copytree(base, copy, ignore=shutil.ignore_patterns("expected"))
        tensors = load_file(copy / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0).contiguous()
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        model = load(copy)
        ids = prompts["short"]["ids"]
        with torch.no_grad():
            np.save(folder / "logits_short.npy", model(torch.tensor([ids])).logits[0].numpy())
        new, margins = answer(model, ids)
    write_json(folder / "expected.json", {"tolerance": TOLERANCE, "ids": ids, "new_ids": new, "min_margin": min(margins)})
    origin(folder, "own-head (qwen2-tied with a head of its own)", [
        "The checkpoint is text/qwen2-tied, tie_word_embeddings true, with lm_head.weight beside its tensors: model.embed_tokens.weight,",
        "the last row first. The test makes it; transformers warns and does not tie."])


if __name__ == "__main__":
    assert len(sys.argv) == 1, __doc__
    for case in VARIANTS:
        variant(case)
    own_head()
