"""llama.cpp's quantiser: python quantize.py NODE_MODULES IN.gguf OUT.gguf Q4_0|Q8_0 THREADS"""
import ctypes
import sys

from llama import leave_memory, load, numbers

folder, source, out, kind, threads = sys.argv[1:]
llama = load(folder)
parameters = llama.llama_model_quantize_default_params()
numbers(parameters)[0] = int(threads)
numbers(parameters)[1] = {"Q4_0": 2, "Q8_0": 7}[kind]
if llama.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(parameters)) != 0:
    sys.exit("llama_model_quantize failed")
leave_memory()
