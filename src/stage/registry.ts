import { compile } from "./compile.ts"
import { devkit } from "./devkit.ts"
import { modelSdkDirect } from "./model_sdk_direct.ts"
import { onnx } from "./onnx.ts"
import { quantize } from "./quantize.ts"
import { sourceToQuant } from "./source_to_quant.ts"
import { verify } from "./verify.ts"

/** Every kind of step, in the order in which a build meets them. */
export const stages = [devkit, onnx, quantize, modelSdkDirect, sourceToQuant, compile, verify] as const
