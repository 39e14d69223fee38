import type { HostArea, HostMemory, HostPage } from '@granule/kvm';
import type { Random } from './random.js';

interface Page {
  readonly start: number;
  readonly bytes: number;
  readonly physical: number;
  readonly leafBytes: number;
  writable: boolean;
}

/**
 * The memory of a VMM as a host manages it: zero pages until a write, huge pages where there is room, copy on write, pages taken away. Whatever takes a page
 * away is told to `notify` first, as mmu notifiers are.
 */
export class SimulatedHost implements HostMemory {
  readonly areas: HostArea[] = [];
  notify: (start: number, end: number) => void = () => {};
  /** Pages by the user address of each base page in them. */
  readonly #pages = new Map<number, Page>();
  readonly #random: Random;
  #next: number;

  constructor(
    readonly page_: number,
    readonly pmd: number,
    random: Random,
    readonly paBits: number,
  ) {
    this.#random = random;
    this.#next = 2 ** 31;
  }

  areaAt(hva: number): HostArea | undefined {
    return this.areas.find(({ start, end }) => start <= hva && hva < end);
  }

  page(hva: number, write: boolean): HostPage | undefined {
    const area = this.areaAt(hva);
    if (area === undefined || (write && !area.writable)) {
      return undefined;
    }
    if (area.kind === 'device') {
      return { physical: area.physical! + (hva - area.start), writable: area.writable, leafBytes: this.page_ };
    }
    let page = this.#at(hva);
    if (page === undefined || (write && !page.writable)) {
      if (page !== undefined) {
        this.drop(page.start, page.start + page.bytes);
      }
      page = this.#make(area, hva, write);
    }
    return { physical: page.physical + (hva - page.start), writable: page.writable, leafBytes: page.leafBytes };
  }

  #at(hva: number): Page | undefined {
    return this.#pages.get(Math.floor(hva / this.page_));
  }

  #make(area: HostArea, hva: number, write: boolean): Page {
    const huge = area.kind === 'hugetlb' ? area.pageBytes : write && area.pageBytes > this.page_ && this.#random.chance(60) ? this.pmd : this.page_;
    const start = hva - (hva % huge);
    const fits = start >= area.start && start + huge <= area.end && [...this.#pages.keys()].every((at) => at * this.page_ < start || at * this.page_ >= start + huge);
    const bytes = fits || area.kind === 'hugetlb' ? huge : this.page_;
    const first = hva - (hva % bytes);
    const page = { start: first, bytes, physical: this.#allocate(bytes), leafBytes: bytes, writable: area.writable && (write || this.#random.chance(30)) };
    // A huge page is known by each of its parts, of which only those that are asked for matter.
    for (let at = first; at < first + bytes; at += this.page_) {
      this.#pages.set(at / this.page_, page);
    }
    return page;
  }

  #allocate(bytes: number): number {
    this.#next = Math.ceil(this.#next / bytes) * bytes + bytes;
    if (this.#next + bytes > 2 ** this.paBits) {
      throw new RangeError('the simulated host is out of memory');
    }
    return this.#next;
  }

  /** The host takes a range away: huge pages that reach beyond it are split. */
  drop(start: number, end: number): void {
    this.notify(start, end);
    for (let at = Math.floor(start / this.page_); at < end / this.page_; at++) {
      const page = this.#pages.get(at);
      this.#pages.delete(at);
      if (page !== undefined && page.bytes > this.page_ && (page.start < start || page.start + page.bytes > end)) {
        this.#split(page, start, end);
      }
    }
  }

  #split(page: Page, start: number, end: number): void {
    this.notify(page.start, page.start + page.bytes);
    for (let at = page.start; at < page.start + page.bytes; at += this.page_) {
      if (at < start || at >= end) {
        this.#pages.set(at / this.page_, { ...page, start: at, bytes: this.page_, leafBytes: this.page_, physical: page.physical + (at - page.start) });
      }
    }
  }

  /** Copy on write is armed for a range (fork, KSM): what is there cannot be written any more. */
  freeze(start: number, end: number): void {
    this.notify(start, end);
    const pages = new Set([...this.#pages.values()].filter((page) => page.start < end && start < page.start + page.bytes));
    pages.forEach((page) => (page.writable = false));
  }
}
