import type { GuestMemory, NestedGuest, NestedState, Outcome } from '@granule/contract';
import { entrySpan, type Level } from '@granule/geometry';
import type { InputAddress } from '@granule/geometry/bits';
import { context, createTranslation, faultOf, PERMISSION, readerMemory, translate, type Context, type Translation } from '@granule/mmu';
import { guestControls } from './guest-controls.js';
import type { GuestWalk } from './guest-walk.js';

/** HCR_EL2 of a nested guest whose stage 1 is off: RW, and VM (DDI 0487 HCR_EL2). */
const HCR = (1n << 31n) | 1n;
/** SCTLR_EL2.EE (DDI 0487 SCTLR_EL2). */
const BIG_ENDIAN = 1n << 25n;

/** What one access of a nested guest is, as far as its hypervisor's stage 2 goes. */
export interface GuestAccess {
  readonly type: 'read' | 'write' | 'fetch';
  readonly privileged: boolean;
}

/**
 * The guest hypervisor's stage 2 as hardware would walk it: the alternative to {@link GuestWalker}, which is KVM's. Permissions are checked for the access, and
 * with VTCR_EL2.HA the access flag is set in the guest's memory. Where the two differ is in the README. Not modelled: what `mmu` does not.
 */
export class ArchitecturalWalker {
  readonly #contexts = new Map<string, Outcome<Context>>();
  readonly #out = createTranslation();

  constructor(
    readonly guest: NestedGuest,
    readonly memory: GuestMemory,
  ) {}

  walk(state: NestedState, ipa: InputAddress, { type, privileged }: GuestAccess): Outcome<GuestWalk> {
    const decoded = this.#context(state);
    if (decoded.kind !== 'done') {
      return decoded;
    }
    const out = this.#out;
    const found = translate(decoded.value, readerMemory(this.memory), ipa, { regime: 'el10', type, privileged }, out);
    const value = found ? this.#commit(state, out) : this.#fault(out);
    return { kind: 'done', value };
  }

  #context({ vttbr, vtcr, bigEndian = false }: NestedState): Outcome<Context> {
    const key = `${vttbr}/${vtcr}/${bigEndian}`;
    let decoded = this.#contexts.get(key);
    if (decoded === undefined) {
      const { backend, features, paBits } = this.guest;
      const registers = { HCR_EL2: HCR, VTCR_EL2: vtcr, VTTBR_EL2: vttbr, SCTLR_EL2: bigEndian ? BIG_ENDIAN : 0n };
      decoded = context(backend, { ...features, paBits: Math.min(paBits, 48), haf: true }, registers);
      this.#contexts.set(key, decoded);
    }
    return decoded;
  }

  #fault(out: Translation): GuestWalk {
    const fault = faultOf(out);
    const statusCode = this.guest.backend.faults.statusCode(fault);
    return { kind: 'fault', statusCode, level: fault.level, sentence: `Hardware takes a ${fault.type} fault of level ${fault.level}.`, error: false };
  }

  /** Access flags as hardware sets them, one compare-and-swap each. */
  #commit(state: NestedState, out: Translation): GuestWalk {
    const { updates } = out;
    for (let i = 0; i < updates.count; i++) {
      const word = (lo: number, hi: number): bigint => (BigInt(hi) << 32n) + BigInt(lo);
      const [old, now] = [word(updates.oldLo[i], updates.oldHi[i]), word(updates.newLo[i], updates.newHi[i])];
      const set = this.memory.exchange?.(updates.address[i], old, now) ?? 'read-only';
      if (set === 'changed') {
        return { kind: 'retry' };
      }
      if (set !== 'done') {
        return this.#aborted(out, updates.level[i] as Level);
      }
    }
    const { permissions, output, level2 } = out;
    const may = (bit: number): boolean => Math.floor(permissions / bit) % 2 === 1;
    const level = level2 as Level;
    return {
      kind: 'mapped',
      // Output of the guest hypervisor's stage 2, input of the host's.
      output: output as number,
      level,
      blockBytes: entrySpan(guestControls(state.vtcr, this.guest).granule, level),
      read: may(PERMISSION.read),
      write: may(PERMISSION.write),
      executeEl1: may(PERMISSION.execute),
      executeEl0: may(PERMISSION.userExecute),
    };
  }

  /** An update that memory refuses is an external abort on the walk (DDI 0487 D8.5.1). */
  #aborted({ fault: { access, address, upper } }: Translation, level: Level): GuestWalk {
    const statusCode = this.guest.backend.faults.statusCode({ type: 'external-abort-on-walk', level, stage: 2, s1ptw: false, access, address, upper });
    return { kind: 'fault', statusCode, level, sentence: `The access flag of the level ${level} entry cannot be set: memory is read-only.`, error: false };
  }
}
