/** Number formats of tensors, by our name. `onnx` is `TensorProto.DataType`. Source: onnx.proto3, onnx 1.19. */
export const dtypes = {
  f32: { bits: 32, onnx: 1 },
  u8: { bits: 8, onnx: 2 },
  i8: { bits: 8, onnx: 3 },
  u16: { bits: 16, onnx: 4 },
  i16: { bits: 16, onnx: 5 },
  i32: { bits: 32, onnx: 6 },
  i64: { bits: 64, onnx: 7 },
  bool: { bits: 8, onnx: 9 },
  f16: { bits: 16, onnx: 10 },
  f64: { bits: 64, onnx: 11 },
  u32: { bits: 32, onnx: 12 },
  u64: { bits: 64, onnx: 13 },
  bf16: { bits: 16, onnx: 16 },
  f8_e4m3: { bits: 8, onnx: 17 },
  f8_e5m2: { bits: 8, onnx: 19 },
  u4: { bits: 4, onnx: 21 },
  i4: { bits: 4, onnx: 22 }
} as const satisfies Record<string, { readonly bits: number; readonly onnx: number }>

/** A number format; 4-bit formats pack two codes a byte, low nibble first. */
export type DType = keyof typeof dtypes

/** Bytes that `count` numbers of `dtype` occupy, rounded up to whole bytes. */
export const byteLength = (dtype: DType, count: number): number => Math.ceil((count * dtypes[dtype].bits) / 8)
