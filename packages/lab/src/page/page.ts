/** What the one-file pages have in common: they need nothing from anywhere, and follow the reader's light or dark setting. */

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const STYLE = `
:root { color-scheme: light dark; }
:root { --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 60%, transparent); }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin-top: 2rem; } p { margin: .3rem 0; }
table { border-collapse: collapse; font: 12px/1.6 ui-monospace, monospace; width: 100%; margin-top: .6rem; }
th { text-align: left; position: sticky; top: 0; background: Canvas; border-bottom: 2px solid var(--line); font-family: system-ui; }
th, td { padding: 0 .7rem 0 0; white-space: nowrap; } td { border-bottom: 1px solid var(--line); }
.finding { color: light-dark(#b00020, #ff7b84); }
`;

/** A page up to its body's first element. `style`: more rules. */
export function pageHead(title: string, style: string): string {
  return (
    `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n` +
    `<title>${escapeHtml(title)}</title>\n<style>${STYLE}${style}</style>\n</head>\n<body>\n`
  );
}

export const PAGE_END = '</body>\n</html>\n';
