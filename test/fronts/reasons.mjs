export const whyForwarded = () => ''
export const whyNode = () => ''
