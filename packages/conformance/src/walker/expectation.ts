import type { Attributes, Format, MemoryType, Rights, Shareability, WalkAccess } from '@granule/contract';

/** What a leaf with these attributes lets each level do. */
export interface LeafRights {
  readonly privileged: Rights;
  readonly user: Rights | undefined;
}

/** The regime has two privilege levels: at stage 1 its leaves can say that EL0 may access. */
export function hasUser(format: Format): boolean {
  return format.stage === 2 || format.encodeLeaf({ user: true }, 3).kind === 'done';
}

/** Rights as the attributes say them; see {@link mayWithhold} for what an architecture may take away. */
export function rightsOf(format: Format, { read, write, px, ux, user }: Attributes): LeafRights {
  const privileged = { read, write, execute: px };
  if (!hasUser(format)) return { privileged, user: undefined };
  const reaches = format.stage === 2 || user;
  return { privileged, user: { read: read && reaches, write: write && reaches, execute: ux } };
}

/**
 * An architecture may withhold the right to execute, never add it: from the privileged level where EL0 may write (DDI 0487 D8.4.1), and from a level that may
 * not read (AArch32, DDI 0406C B3.7.2).
 */
export function mayWithhold({ privileged, user }: LeafRights, level: 'privileged' | 'user'): boolean {
  if (level === 'privileged') return user?.write === true || !privileged.read;
  return user?.read === false;
}

export function rightFor({ type }: WalkAccess): keyof Rights {
  switch (type) {
    case 'read':
      return 'read';
    case 'write':
      return 'write';
    case 'fetch':
      return 'execute';
  }
}

/**
 * The types that an access may find; none where the format says nothing definite. A fetch from Device memory may be treated as one from Non-cacheable memory
 * (DDI 0487 K1.2).
 */
export function foundMemory(memory: MemoryType, { type }: WalkAccess): readonly MemoryType[] {
  if (memory === 'reserved' || memory === 'unknown') return [];
  if (memory === 'as-stage1') return ['normal'];
  return type === 'fetch' && memory.startsWith('device-') ? [memory, 'normal-nc'] : [memory];
}

/** Device memory, and memory that no cache holds, is Outer Shareable whatever the leaf says (DDI 0487 D8.6.2). */
export function shareabilities(memory: MemoryType, shareability: Shareability): readonly Shareability[] {
  if (shareability === 'reserved') return ['non', 'reserved', 'outer', 'inner'];
  return memory === 'normal-nc' || memory.startsWith('device-') ? [shareability, 'outer'] : [shareability];
}
