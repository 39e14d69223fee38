import type { TraceFields } from '@granule/snapshot';

type SysAccess = TraceFields<'kvm_sys_access'>;

/** CRm of DC by set/way, (1, 0, 7, CRm, 2); with op2 4 and 6 those of FEAT_MTE (DDI 0487 C5.1, DC instructions). In CP15 Op0 is printed as 0. */
const SET_WAY_CRM = [6, 10, 14];
const SET_WAY_OP2 = [2, 4, 6];

/** A trapped DC by set/way, of either execution state. */
export function isSetWay({ op0, op1, crn, crm, op2, access }: SysAccess): boolean {
  const [space, operations] = op0 === 1 ? [true, SET_WAY_OP2] : [op0 === 0, [2]];
  return access === 'write' && space && op1 === 0 && crn === 7 && SET_WAY_CRM.includes(crm) && operations.includes(op2);
}

/** (CRn, CRm, op2) of the registers of EL1 that HCR_EL2.TVM traps, with op0 3 and op1 0 (DDI 0487 HCR_EL2.TVM). */
const VM_REGISTERS = new Set([
  '1,0,0', '1,0,3', '2,0,0', '2,0,1', '2,0,2', '2,0,3', '5,1,0', '5,1,1', '5,2,0', '6,0,0', '10,2,0', '10,3,0', '13,0,1',
]);

/** The same for AArch32, (CRn, CRm, op2) with op1 0: SCTLR, TTBR0, TTBR1, TTBCR, TTBCR2, DACR, DFSR, IFSR, ADFSR, AIFSR, DFAR, IFAR, MAIR0/1, AMAIR0/1, CONTEXTIDR. */
const CP15_REGISTERS = new Set([
  '1,0,0', '2,0,0', '2,0,1', '2,0,2', '2,0,3', '3,0,0', '5,0,0', '5,0,1', '5,1,0', '5,1,1', '6,0,0', '6,0,2', '10,2,0', '10,2,1', '10,3,0', '10,3,1', '13,0,1',
]);

/** A trapped write of a virtual-memory control register; in CP15 also the 64-bit TTBR0 and TTBR1 (CRm 2, op1 0 and 1). */
export function isVmRegister({ op0, op1, crn, crm, op2, access }: SysAccess): boolean {
  if (access !== 'write') {
    return false;
  }
  if (op0 === 3) {
    return op1 === 0 && VM_REGISTERS.has(`${crn},${crm},${op2}`);
  }
  const wide = crn === 0 && crm === 2 && op2 === 0 && op1 <= 1;
  return op0 === 0 && (wide || (op1 === 0 && CP15_REGISTERS.has(`${crn},${crm},${op2}`)));
}

/** SCTLR_EL1 or SCTLR, the one that switches caches. */
export function isSctlr({ op1, crn, crm, op2 }: SysAccess): boolean {
  return op1 === 0 && crn === 1 && crm === 0 && op2 === 0;
}
