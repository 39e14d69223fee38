const SCALAR = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/uy;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/uy;
const BLANK = /[ \t\n\r]*/uy;

type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or end';

/**
 * Where a text stops being JSON (RFC 8259): the offset of the first token that cannot stand there, or the text's length where it ends too early. For texts that
 * JSON.parse has refused; its own messages do not always say where.
 */
export function jsonErrorAt(text: string): number {
  const open: string[] = [];
  let expected: Expected = 'value';
  for (let at = matchEnd(BLANK, text, 0); at < text.length; ) {
    const end = tokenEnd(text, at);
    const next: Expected | undefined = end < 0 ? undefined : accept(expected, text[at], open);
    if (next === undefined) {
      return at;
    }
    expected = next;
    at = matchEnd(BLANK, text, end);
  }
  return text.length;
}

/** What is expected after this token; undefined where it cannot stand here. */
function accept(expected: Expected, token: string, open: string[]): Expected | undefined {
  switch (expected) {
    case 'value':
      if (token === '{' || token === '[') {
        open.push(token);
        return token === '{' ? 'key or }' : 'value or ]';
      }
      return '}],:'.includes(token) ? undefined : ', or end';
    case 'key':
      return token === '"' ? ':' : undefined;
    case ':':
      return token === ':' ? 'value' : undefined;
    case 'value or ]':
      return closes(token, open) ?? accept('value', token, open);
    case 'key or }':
      return closes(token, open) ?? accept('key', token, open);
    case ', or end':
      return token === ',' && open.length > 0 ? (open.at(-1) === '{' ? 'key' : 'value') : closes(token, open);
  }
}

function closes(token: string, open: string[]): Expected | undefined {
  const wanted = open.at(-1) === '{' ? '}' : ']';
  return open.length > 0 && token === wanted && open.pop() !== undefined ? ', or end' : undefined;
}

/** The end of the token at `at`; −1 where there is none. */
function tokenEnd(text: string, at: number): number {
  if ('{}[],:'.includes(text[at])) {
    return at + 1;
  }
  if (text[at] !== '"') {
    return matchEnd(SCALAR, text, at);
  }
  for (let i = at + 1; i < text.length; i += 1) {
    if (text[i] === '"') {
      return i + 1;
    }
    if (text[i] < ' ') {
      return -1;
    }
    if (text[i] === '\\') {
      i = matchEnd(ESCAPE, text, i) - 1;
      if (i < 0) {
        return -1;
      }
    }
  }
  return text.length;
}

function matchEnd(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}
