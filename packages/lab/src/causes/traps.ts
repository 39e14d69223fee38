import type { TraceFields } from '@granule/snapshot';

type SysAccess = TraceFields<'kvm_sys_access'>;

/** CRm of DC by set/way, (1, 0, 7, CRm, 2); with op2 4 and 6 those of FEAT_MTE (DDI 0487 C5.1, DC instructions). */
const SET_WAY_CRM = [6, 10, 14];
const SET_WAY_OP2 = [2, 4, 6];

/** A trapped DC by set/way. */
export function isSetWay({ op0, op1, crn, crm, op2, access }: SysAccess): boolean {
  return access === 'write' && op0 === 1 && op1 === 0 && crn === 7 && SET_WAY_CRM.includes(crm) && SET_WAY_OP2.includes(op2);
}

/** (CRn, CRm, op2) of the registers of EL1 that HCR_EL2.TVM traps, with op0 3 and op1 0 (DDI 0487 HCR_EL2.TVM). */
const VM_REGISTERS = new Set([
  '1,0,0', '1,0,3', '2,0,0', '2,0,1', '2,0,2', '2,0,3', '5,1,0', '5,1,1', '5,2,0', '6,0,0', '10,2,0', '10,3,0', '13,0,1',
]);

/** A trapped write of a virtual-memory control register. */
export function isVmRegister({ op0, op1, crn, crm, op2, access }: SysAccess): boolean {
  return access === 'write' && op0 === 3 && op1 === 0 && VM_REGISTERS.has(`${crn},${crm},${op2}`);
}

/** SCTLR_EL1, the one that switches caches. */
export function isSctlr({ crn, crm, op2 }: SysAccess): boolean {
  return crn === 1 && crm === 0 && op2 === 0;
}
