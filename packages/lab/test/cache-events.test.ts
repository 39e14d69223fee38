import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { armv8 } from '@granule/armv8';
import { Backing, createVm, kernelProfile, linuxCaches, type PolicyEvent, VmidAllocator } from '@granule/kvm';
import { createTableArena } from '@granule/memory';
import { decodeTraceEvent, traceText } from '@granule/snapshot';
import { describe, expect, it } from 'vitest';
import { valueOf } from './support.js';

/** Name and text of an event of a trace, by a reader of its own. */
function lines(run: string): (readonly [name: string, text: string])[] {
  const trace = gunzipSync(readFileSync(join(import.meta.dirname, run, 'end.trace.txt.gz'))).toString();
  return [...trace.matchAll(/\d\.\d{6}: (\w+): (.*)/gu)].map(([, name, text]) => [name, text]);
}

/** The policy after the same traps, told the state of SCTLR where it is written or was not seen; what it prints. */
function printed(run: string): string[] {
  const features = { ...armv8.registers.features({ ID_AA64MMFR0_EL1: 0x10_1122n, CTR_EL0: 0x8444_c004n }), s2fwb: false };
  const texts: string[] = [];
  const trace = (event: PolicyEvent): void => {
    if (event.event === 'kvm_set_way_flush' || event.event === 'kvm_toggle_cache') {
      texts.push(`${event.event}: ${traceText(event)}`);
    }
  };
  const vm = valueOf(
    createVm({
      backend: armv8, kernel: kernelProfile('7.2'), memory: createTableArena({ pageShift: 12 }), hostMemory: new Backing(4096), vmids: new VmidAllocator(8), trace,
      host: { granule: '4K', vaBits: 48, features, hardwareAccessFlag: false, tlbRange: false },
    }),
  );
  const vcpu = vm.addVcpu();
  const events = lines(run);
  events.forEach(([name, text], i) => {
    const [, pc, register] = /^PC: (\w+) SYS_(\w+) /u.exec(name === 'kvm_sys_access' ? text : '') ?? [];
    if (register === undefined) {
      return;
    }
    const end = events.findIndex(([later], at) => at > i && later === 'kvm_exit');
    const told = events.slice(i, end === -1 ? undefined : end).map(([, each]) => each).join('\n');
    if (register.startsWith('DC_')) {
      vcpu.cachesOn = vcpu.tvm ? vcpu.cachesOn : told.includes('(cache on)');
      linuxCaches.setWay(vm, vcpu, BigInt(`0x${pc}`));
    } else {
      linuxCaches.vmRegister(vm, vcpu, BigInt(`0x${pc}`), register === 'SCTLR_EL1' ? told.includes('now on)') : vcpu.cachesOn);
    }
  });
  return texts;
}

describe.each(['../../../apps/granule/data/A-4k-a76', 'data/A-612-a76', 'data/B-4k-a76', 'data/C-4k-a76', 'data/Y-4k-a76', 'data/E-4k-nvhe'])('%s', (run) => {
  const real = lines(run).filter(([name]) => name === 'kvm_set_way_flush' || name === 'kvm_toggle_cache').map(([name, text]) => `${name}: ${text}`);

  it("the set/way and toggle events that the policy prints are the kernel's, in order and letter for letter", () => {
    expect(real.length).toBeGreaterThan(7);
    expect(printed(run)).toEqual(real);
  });

  it('and they parse back', () => {
    for (const line of real) {
      const [event, text] = [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)];
      expect(decodeTraceEvent({ event, text })).toMatchObject({ event });
    }
  });
});
