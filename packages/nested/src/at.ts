import { done, type FaultValue, type Features, type GuestMemory, type NestedGuest, notModelled, type Outcome, refused, type Registers } from '@granule/contract';
import type { Level } from '@granule/geometry';
import type { InputAddress } from '@granule/geometry/bits';
import { context, createTranslation, faultOf, readerMemory, translate, type Access, type Context, type Translation } from '@granule/mmu';
import { GuestWalker, type GuestWalk } from './guest-walk.js';

/** What the hardware's own AT gave in the nested guest's context. */
export type HardwareAt = { readonly par: bigint; readonly fault?: FaultValue };

export interface AtMachine {
  readonly guest: NestedGuest;
  /** What the guest hypervisor's machine has, as far as its stage 1 goes. */
  readonly features: Partial<Features>;
  /** Its registers, EL1 and EL2, as it sees them. */
  readonly registers: Registers;
  /** Memory at the VM's IPAs. */
  readonly memory: GuestMemory;
  /** PSTATE.PAN, for the P forms. */
  readonly pan?: boolean;
}

/** The value of PAR_EL1, and who found it. */
export interface AtAnswer {
  readonly path: 'hardware' | 'software';
  readonly par: bigint;
}

const NAME = /^S(?<stages>12|1)E(?<el>[012])(?<kind>[RW])(?<pan>P?)$/u;
const HCR = { vm: 1n, dc: 1n << 12n, tge: 1n << 27n, e2h: 1n << 34n } as const;
/** PAR_EL1.FST, bits 6:1 of a fault (DDI 0487 PAR_EL1). */
const FST = 0x7en;
/** Permission fault, level 0. */
const PERMISSION = 0x0c;

const SOURCE = 'Linux __kvm_at_s1e01, __kvm_at_s12 (arch/arm64/kvm/at.c)';

/** Whether what hardware found is the answer: a translation, or what only stage 1 can have to do with. Everything else may be the shadow's doing. */
export function isFinal({ fault }: HardwareAt): boolean {
  return fault === undefined || (fault.stage === 1 && !fault.s1ptw && (fault.type === 'permission' || fault.type === 'access-flag'));
}

/**
 * An AT instruction of the guest hypervisor's. One that asks of stage 1 is tried by hardware in the guest's context (`hardware`; undefined: its context is gone),
 * where what that finds is final; else, and for stage 2 always, the tables are walked by software: stage 1 as hardware does (`mmu`), stage 2 as KVM does.
 *
 * Refused: `at.unknown`. Not modelled: `at.walks-differ`, where KVM's walk of stage 2 finds what hardware would not; what `mmu` does not model.
 */
export function emulateAt(name: string, va: bigint, machine: AtMachine, hardware?: HardwareAt): Outcome<AtAnswer> {
  const groups = NAME.exec(name)?.groups;
  if (groups === undefined) {
    return refused('at.unknown', `${name} is no address translation of EL0 to EL2.`, 'DDI 0487 C5.4');
  }
  const stages = groups['stages'] === '12' ? 'both' : 'one';
  if (stages === 'one' && hardware !== undefined && isFinal(hardware)) {
    return done({ path: 'hardware', par: hardware.par });
  }
  const decoded = context(machine.guest.backend, machine.features, machine.registers);
  if (decoded.kind !== 'done') {
    return decoded;
  }
  const hcr = machine.registers['HCR_EL2'] ?? 0n;
  const access: Access = {
    regime: regimeOf(Number(groups['el']), hcr),
    type: groups['kind'] === 'R' ? 'at-read' : 'at-write',
    privileged: groups['el'] !== '0',
    pan: machine.pan === true && groups['pan'] === 'P',
    stages: 'one',
  };
  const out = createTranslation();
  if (!translate(decoded.value, readerMemory(machine.memory), va, access, out)) {
    return done({ path: 'software', par: machine.guest.backend.faults.par(reported(out, decoded.value, access)) });
  }
  const second = stages === 'both' && access.regime === 'el10' && (hcr & (HCR.vm | HCR.dc)) !== 0n;
  return second ? throughStage2(va, machine, access, decoded.value, out) : success(machine, out);
}

/** A fault of stage 2 on the walk of stage 1 is reported with the level of stage 1, where hardware has that of stage 2 (Linux fail_s1_walk). */
function reported(out: Translation, { regimes }: Context, { regime }: Access): FaultValue {
  const fault = faultOf(out);
  if (!fault.s1ptw) {
    return fault;
  }
  const { fetches } = out;
  const last = fetches.all().findLast(({ stage }) => stage === 1);
  const control = regimes.get(regime)?.control;
  const start = (fault.upper ? control?.upper : control?.lower)?.format?.geometry.startLevel ?? 0;
  return { ...fault, level: last === undefined ? start : ((last.level + 1) as Level) };
}

/** EL0 and EL1 are the host's own with {E2H, TGE} = {1, 1}. */
function regimeOf(el: number, hcr: bigint): string {
  const e2h = (hcr & HCR.e2h) !== 0n;
  if (el === 2) {
    return e2h ? 'el20' : 'el2';
  }
  return e2h && (hcr & HCR.tge) !== 0n ? 'el20' : 'el10';
}

function success({ guest }: AtMachine, out: Translation): Outcome<AtAnswer> {
  const { faults } = guest.backend;
  const par = faults.parSuccess?.(out);
  return par === undefined
    ? notModelled('at.no-par', `Backend ${guest.backend.name} does not tell what PAR shows of a translation.`, 'FaultCodec.parSuccess')
    : done({ path: 'software', par });
}

/** The IPA that stage 1 gave, through the guest hypervisor's stage 2: KVM's walk decides, the attributes of both stages are combined as by hardware. */
function throughStage2(va: bigint, machine: AtMachine, access: Access, decoded: Context, out: Translation): Outcome<AtAnswer> {
  const { registers, guest, memory } = machine;
  const hcr = registers['HCR_EL2'] ?? 0n;
  if ((hcr & HCR.vm) === 0n) {
    return success(machine, out);
  }
  const state = {
    vttbr: registers['VTTBR_EL2'] ?? 0n,
    vtcr: registers['VTCR_EL2'] ?? 0n,
    stage2: true,
    bigEndian: ((registers['SCTLR_EL2'] ?? 0n) & (1n << 25n)) !== 0n,
  };
  const ipa: InputAddress = out.output as number;
  const walk = new GuestWalker(guest, memory).walk(state, ipa);
  const statusCode = walk.kind === 'mapped' ? denied(walk, access) : walk.kind === 'fault' ? walk.statusCode : undefined;
  if (walk.kind === 'retry') {
    return { kind: 'retry', id: 'at.raced', sentence: 'A descriptor changed while its access flag was to be set.', source: SOURCE };
  }
  if (statusCode !== undefined) {
    const fault: FaultValue = { type: 'translation', level: walk.level, stage: 2, s1ptw: false, access: access.type, address: ipa, upper: false, ipa };
    const par = guest.backend.faults.par(fault);
    return done({ path: 'software', par: par - (par & FST) + BigInt(statusCode) * 2n });
  }
  const whole = translate(decoded, readerMemory(memory), va, { ...access, stages: 'both' }, out);
  return whole
    ? success(machine, out)
    : notModelled('at.walks-differ', `KVM's walk maps the IPA 0x${ipa.toString(16)}, hardware would take a ${out.fault.type} fault.`, SOURCE);
}

function denied(walk: GuestWalk & { readonly kind: 'mapped' }, { type }: Access): number | undefined {
  return (type === 'at-write' ? walk.write : walk.read) ? undefined : PERMISSION + walk.level;
}
