const operators = new Set(['&', '|', '^', '<<', '>>', '>>>', '&=', '|=', '^=', '<<=', '>>=', '>>>=']);

/** @param {import('typescript').Type} type @returns {boolean} */
const isAddress = (type) =>
  type.isUnion() ? type.types.some(isAddress) : type.getProperties().some((property) => property.name === '__address');

/**
 * Bitwise operators work on 32 bits: `(2 ** 40 + 0x123000) >> 12` is 291. On an address they drop everything above bit 31 without a word. The
 * rule knows an address by the flavour of its type, the property `__address` (`Address`, `InputAddress`, `OutputAddress` of
 * `@granule/geometry/bits`), and reports every bitwise operator that has one as an operand.
 *
 * @type {import('eslint').Rule.RuleModule}
 */
export const noBitwiseOnAddress = {
  meta: {
    type: 'problem',
    docs: { description: 'forbid bitwise operators on addresses, which may exceed 32 bits' },
    messages: { bitwise: "'{{operator}}' keeps 32 bits of an address of up to 52: use the helpers of @granule/geometry/bits." },
    schema: [],
  },
  create(context) {
    const { getTypeAtLocation } = context.sourceCode.parserServices;
    /** @param {import('estree').Expression} node @param {string} operator @param {import('estree').Node[]} operands */
    const check = (node, operator, operands) => {
      if (operands.some((operand) => isAddress(getTypeAtLocation(operand)))) {
        context.report({ node, messageId: 'bitwise', data: { operator } });
      }
    };
    return {
      BinaryExpression(node) {
        if (operators.has(node.operator)) check(node, node.operator, [node.left, node.right]);
      },
      AssignmentExpression(node) {
        if (operators.has(node.operator)) check(node, node.operator, [node.left, node.right]);
      },
      UnaryExpression(node) {
        if (node.operator === '~') check(node, '~', [node.argument]);
      },
    };
  },
};
