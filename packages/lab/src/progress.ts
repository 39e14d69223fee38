/** Told while work takes long: what, how much of how much. */
export type Progress = (what: string, done: number, of: number) => void;
