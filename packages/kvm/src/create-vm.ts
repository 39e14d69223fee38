import { type Outcome, done } from '@granule/contract';
import { kvmIpaLimit } from '@granule/geometry';
import { hex } from '@granule/geometry/bits';
import { refuse } from './errno.js';
import type { HostProfile } from './profile.js';
import { geometryFeatures, stage2Parts } from './stage2.js';
import { type NestedOptions, NestedVm } from './nested/nested-vm.js';
import { Vm, type VmOptions } from './vm.js';

const MIN_IPA_BITS = 32;
const DEFAULT_IPA_BITS = 40;

/** The largest IPA that this host gives a VM, bits (Linux kvm_set_ipa_limit). */
function ipaLimitOf(host: HostProfile): Outcome<number> {
  return kvmIpaLimit({ granule: host.granule, paBits: host.features.paBits, features: geometryFeatures(host) });
}

/** The IPA size that a VM type asks for. Refused: `vm.ipa-bits`, and what the machine refuses. Source: Linux kvm_init_ipa_range. */
export function ipaBitsOf(type: number, host: HostProfile): Outcome<number> {
  const limit = ipaLimitOf(host);
  if (limit.kind !== 'done') {
    return limit;
  }
  const bits = type % 256 === 0 ? DEFAULT_IPA_BITS : type % 256;
  if (type !== type % 256 || bits < MIN_IPA_BITS || bits > limit.value) {
    const sentence = `VM type ${hex(type, 1)} asks for ${bits} bits of IPA; this host gives ${MIN_IPA_BITS} to ${limit.value}, in bits 7:0.`;
    return refuse('vm.ipa-bits', sentence, 'Linux kvm_init_ipa_range');
  }
  return done(bits);
}

/** Before the IPA size was per VM: always 40 bits, and a type of 0 (KVM_PHYS_SHIFT; kvm_arch_init_vm). */
function fixedIpaBits(type: number): Outcome<number> {
  return type === 0
    ? done(DEFAULT_IPA_BITS)
    : refuse('vm.type', `VM type ${hex(type, 1)} is not 0, and this kernel gives every VM ${DEFAULT_IPA_BITS} bits of IPA.`, 'Linux 4.8 kvm_arch_init_vm');
}

/**
 * KVM_CREATE_VM: the VM and its own stage 2, VTCR_EL2 included (Linux kvm_init_stage2_mmu, kvm_get_vtcr). Refused: `vm.ipa-bits`, `vm.type`, `geometry.*` (stage 2 deeper than
 * the host's own tables among them, up to 4.19), `pool.exhausted`, and what the backend refuses. Not modelled: `nested.not-supported`.
 */
export function createVm(options: VmOptions): Outcome<Vm> {
  const { host, kernel, type = 0 } = options;
  const ipaBits = kernel.fixedIpa ? fixedIpaBits(type) : ipaBitsOf(type, host);
  if (ipaBits.kind !== 'done') {
    return ipaBits;
  }
  const parts = stage2Parts(options, ipaBits.value);
  if (parts.kind !== 'done') {
    return parts;
  }
  options.trace?.({ event: 's2_init', fields: {} });
  const limit = ipaLimitOf(host);
  const vm = new Vm(options, parts.value, limit.kind === 'done' ? limit.value : host.features.paBits);
  return options.nested === undefined ? done(vm) : withNested(vm, options.nested);
}

function withNested(vm: Vm, options: NestedOptions): Outcome<Vm> {
  const nested = NestedVm.open(vm, options);
  if (nested.kind !== 'done') {
    return nested;
  }
  vm.nested = nested.value;
  return done(vm);
}
