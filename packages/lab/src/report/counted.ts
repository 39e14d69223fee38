type Amounts = Readonly<Record<string, number>>;

/** Amounts by what they are amounts of: two things are the same where their fields are. In the order of first use. */
export class Counted<What extends object, A extends Amounts> {
  readonly #entries = new Map<string, What & A>();

  add(what: What, amounts: A): void {
    let key = '';
    for (const name in what) {
      key += `${String(what[name])} `;
    }
    const entry = this.#entries.get(key) as Record<string, number> | undefined;
    if (entry === undefined) {
      this.#entries.set(key, { ...what, ...amounts });
      return;
    }
    for (const name in amounts) {
      entry[name] += amounts[name];
    }
  }

  /** A copy. */
  list(): readonly (What & A)[] {
    return [...this.#entries.values()].map((each) => ({ ...each }));
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
