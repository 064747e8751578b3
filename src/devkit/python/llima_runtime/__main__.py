"""python -m llima_runtime OUT (--prompt TEXT | --prompt_ids FILE) [--max_new_tokens N]"""

import argparse
import json
from pathlib import Path

import numpy as np

from . import Model, Run, generate


def main():
    parser = argparse.ArgumentParser(prog="llima_runtime", description="Runs a build of llima-compile, greedily.")
    parser.add_argument("folder", metavar="OUT", help="output folder, or the sima_files in it")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", help="text; needs the package tokenizers; prints text")
    prompt.add_argument("--prompt_ids", metavar="FILE", help="a JSON array of token ids; prints one")
    parser.add_argument("--max_new_tokens", type=int, default=64)
    parser.add_argument("--ignore_eos", action="store_true", help="go on after an end token")
    parser.add_argument("--logits", metavar="FILE.npy", help="write the prompt's logits [tokens x vocabulary] and stop")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    options = parser.parse_args()
    model = Model(options.folder, options.threads)
    tokenizer = None
    if options.prompt is not None:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(model.devkit / "tokenizer.json"))
        ids = tokenizer.encode(options.prompt).ids
    else:
        ids = json.loads(Path(options.prompt_ids).read_text("utf-8"))
    vocabulary = model.config["vocabulary"]
    if not ids or not all(isinstance(id, int) and 0 <= id < vocabulary for id in ids):
        raise SystemExit(f"the prompt must be one or more token ids from 0 to {vocabulary - 1}")
    if options.logits is not None:
        if not model.config["returnLogits"]:
            raise SystemExit("this build gives tokens only; compile it with --return_logits")
        outputs = Run(model, len(ids), len(ids)).prefill(ids, True)
        np.save(options.logits, np.concatenate([out["logits"] for out in outputs]))
        return
    answer = list(generate(model, ids, options.max_new_tokens, options.ignore_eos))
    print(json.dumps(answer) if tokenizer is None else tokenizer.decode(answer))


main()
