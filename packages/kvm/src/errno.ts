import type { Failure, Refused } from '@granule/contract';
import { refused } from '@granule/contract';

/** Linux include/uapi/asm-generic/errno-base.h, errno.h. */
const NUMBERS = {
  EPERM: 1, ENOENT: 2, EAGAIN: 11, ENOMEM: 12, EFAULT: 14, EEXIST: 17, EINVAL: 22, ENOTTY: 25, ERANGE: 34, ENOSYS: 38,
} as const;

export type ErrnoName = keyof typeof NUMBERS;

/**
 * What the kernel answers where this model refuses: refusal id to errno. Ids of the page-table core stand here too, as its Linux counterparts answer. The only
 * place where an errno is tied to anything.
 */
const ERRNO = {
  'vm.ipa-bits': 'EINVAL',
  'vm.type': 'EINVAL',
  'slot.alignment': 'EINVAL',
  'slot.wraps': 'EINVAL',
  'slot.id': 'EINVAL',
  'slot.none': 'EINVAL',
  'slot.size-changed': 'EINVAL',
  'slot.immutable': 'EINVAL',
  'slot.overlap': 'EEXIST',
  'slot.beyond-ipa': 'EFAULT',
  'slot.too-large': 'EINVAL',
  'slot.device-logging': 'EINVAL',
  'slot.device-cacheable': 'EINVAL',
  'slot.tags': 'EINVAL',
  'slot.protected': 'EPERM',
  'dirty-log.no-slot': 'ENOENT',
  'dirty-log.off': 'ENOENT',
  'dirty-log.not-manual': 'ENOTTY',
  'dirty-log.initially-set': 'EINVAL',
  'dirty-log.range': 'EINVAL',
  'split.chunk-size': 'EINVAL',
  'split.chunk-late': 'EINVAL',
  'split.protected': 'EINVAL',
  'abort.unsupported': 'EFAULT',
  'abort.read-permission': 'EFAULT',
  'abort.host-fault': 'EFAULT',
  'abort.uncacheable': 'EFAULT',
  'abort.tags': 'EFAULT',
  'abort.no-syndrome': 'ENOSYS',
  'abort.no-pages': 'ENOMEM',
  'hyp.va-exhausted': 'ENOMEM',
  'hyp.idmap-conflict': 'EINVAL',
  'hyp.idmap-crosses-page': 'EINVAL',
  'hyp.not-shared': 'ENOENT',
  'hyp.not-vmalloc': 'EINVAL',
  'hyp.vmalloc': 'EINVAL',
  'hyp.io-protected': 'EPERM',
  'range.beyond-ia': 'ERANGE',
  'pool.exhausted': 'ENOMEM',
  'split.no-pages': 'ENOMEM',
} as const satisfies Readonly<Record<string, ErrnoName>>;

export type PolicyRefusal = keyof typeof ERRNO;

export function refuse(id: PolicyRefusal, sentence: string, source: string): Refused {
  return refused(id, sentence, source);
}

/** The kernel's negative errno for an outcome that is not `done`: -EAGAIN for a retry, undefined where the kernel has no such answer. */
export function errnoOf({ kind, id }: Pick<Failure, 'kind' | 'id'>): number | undefined {
  if (kind === 'retry') {
    return -NUMBERS.EAGAIN;
  }
  return Object.hasOwn(ERRNO, id) ? -NUMBERS[ERRNO[id as PolicyRefusal]] : undefined;
}
