/**
 * What a backend derives from its layouts: encoders, decoders and explanations of registers, instruction operands and long descriptors. No
 * layout is in here: where a field is, its backend says.
 */
export * from './annotation-codec.js';
export * from './break-rules.js';
export * from './descriptor-format.js';
export * from './descriptor-meanings.js';
export * from './field-codec.js';
export * from './instruction-codec.js';
export * from './leaf-codec.js';
export * from './memory-codec.js';
export * from './output-codec.js';
export * from './register-codec.js';
