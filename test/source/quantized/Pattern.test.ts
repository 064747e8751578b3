import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { compilePattern } from "../../../src/source/quantized/Pattern.ts"

const matches = (pattern: string, text: string): boolean => Result.getOrThrow(compilePattern(pattern))(text)

describe("compilePattern", () => {
  it.each(
    [
      [".*lm_head", "model.lm_head", true],
      ["lm_head", "lm_head.more", true],
      ["lm_head", "model.lm_head", false],
      ["^lm_head$", "lm_head.more", false],
      [".*mlp.gate$", "model.layers.3.mlp.gate", true],
      [".*mlp.gate$", "model.layers.3.mlp.gate_proj", false],
      ["model\\.layers\\.[0-9]+\\.(self_attn|mlp)\\..*", "model.layers.12.mlp.up_proj", true],
      ["model\\.layers\\.\\d+\\.(?:self_attn|mlp)\\.(q|k)_proj", "model.layers.7.self_attn.k_proj", true],
      ["model\\.layers\\.\\d+\\.(?:self_attn|mlp)\\.(q|k)_proj", "model.layers.7.self_attn.v_proj", false],
      ["[^.]*\\.w?o?", "model.", true],
      ["[a-c_]+x", "ab_cx", true],
      ["[a-c_]+x", "x", false],
      ["(a|b)*c", "ababc", true],
      ["", "anything", true]
    ] as const
  )("%s on %s: %s", (pattern, text, expected) => {
    assert.strictEqual(matches(pattern, text), expected)
    // the same as the engine that may take forever
    assert.strictEqual(new RegExp(`^(?:${pattern})`).test(text), expected)
  })

  it.each(["(?!a)b", "a{2}", "(a", "a)", "[a", "*a", "a\\b", "\\", "((((((a))))))", "a".repeat(501)])(
    "does not build %s",
    (pattern) => {
      assert.isTrue(Result.isFailure(compilePattern(pattern)))
    }
  )

  it("does not take long over what other engines take forever over", () => {
    assert.isFalse(matches("(((a+)+)+)+b", "a".repeat(150)))
  })
})
