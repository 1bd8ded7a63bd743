/** Bytes of `struct ggml_tensor`, and where its parts lie (ggml 0.25.1: checked through the library's version). */
export const TENSOR_BYTES = 336;
export const BUFFER_AT = 8;
export const SIZES_AT = 16;
export const STRIDES_AT = 48;
export const SOURCES_AT = 152;
export const DATA_AT = 248;
