import { compile } from "./compile.ts"
import { devkit } from "./devkit.ts"
import { onnx } from "./onnx.ts"
import { modelSdkDirect, quantize, sourceToQuant } from "./quantize.ts"
import { verify } from "./verify.ts"

/** Every kind of step, in the order in which a build meets them. */
export const stages = [devkit, onnx, quantize, modelSdkDirect, sourceToQuant, compile, verify] as const
