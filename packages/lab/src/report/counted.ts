/** Amounts by what they are amounts of: two things are the same where their fields are. In the order of first use. */
export class Counted<What extends object, Amounts extends Readonly<Record<string, number>>> {
  readonly #entries = new Map<string, What & Amounts>();

  add(what: What, amounts: Amounts): void {
    const key = Object.values(what).join(' ');
    const before = this.#entries.get(key);
    const sum = Object.entries(amounts).map(([name, amount]) => [name, (before?.[name] ?? 0) + amount] as const);
    this.#entries.set(key, { ...what, ...(Object.fromEntries(sum) as Amounts) });
  }

  list(): readonly (What & Amounts)[] {
    return [...this.#entries.values()];
  }
}

/** The same for names alone. */
export class Named {
  readonly #counts = new Map<string, number>();

  add(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  record(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
