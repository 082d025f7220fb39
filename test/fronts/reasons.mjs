// Why Wirelet and another server disagree: one sentence per kind of disagreement. One that is missing here makes the run fail.

/** A front forwarded it (or what it made of it), Wirelet refused: the refusal closes that upstream connection, so nothing behind it is shared. */
const FORWARDED = {
  HPE_MISSING_HOST: 'the front forwards requests that came without Host (HTTP/0.9 and 1.0 ones too) as HTTP/1.1 without one (RL-32, HO-01)',
  HPE_INVALID_HOST: 'the front does not hold Host, or the authority it made Host of, to RFC 3986; two hosts that two programs read differently are a routing bypass (HO-03 to HO-08)',
  HPE_DUPLICATE_HOST: 'the front forwards two Host lines (HO-02)',
  HPE_INVALID_URL: 'the front forwards a target with a fragment, raw delimiters, another scheme, userinfo or in the wrong form (RL-13 to RL-31)',
  HPE_INVALID_METHOD: 'the front passes on a method that is no token (RL-07)',
  HPE_INVALID_FIELD_VALUE: 'the front passes control characters in a value on (HF-11, HF-12)',
  HPE_INVALID_HEADER_TOKEN: 'the front passes on a name that is no token (HF-02)',
  HPE_DUPLICATE_SINGLETON: 'the front forwards a repeated field that may stand once; two programs could read two values (HF-16)',
  HPE_TOO_MANY_FIELDS: 'the front\'s limit of field lines is higher than ours (LM-03)',
  HPE_FIELD_LINE_TOO_LONG: 'the front\'s limit of a field line is higher than ours (LM-02)',
  HPE_HEAD_TOO_LONG: 'the front\'s limit of the head is higher than ours (LM-02)',
  HPE_URL_TOO_LONG: 'the front\'s limit of the request line is higher than ours (LM-01)',
  HPE_CONNECT_REFUSED: 'the front forwards CONNECT; an origin that does not tunnel refuses it (RL-29)',
  HPE_INVALID_VERSION: 'the front forwards another version than 1.0 and 1.1 (VE-02, VE-03)',
  HPE_INVALID_CONSTANT: 'the front forwards a request line whose version is none (VE-01)',
  HPE_TRANSFER_ENCODING_IN_1_0: 'the front forwards chunked content of HTTP/1.0 with its version (TE-03)',
  HPE_INVALID_TRANSFER_ENCODING: 'the front accepts empty list members or parameters in Transfer-Encoding and forwards them as they came (TE-07, TE-08)',
  HPE_UNSUPPORTED_TRANSFER_CODING: 'the front forwards a coding that nobody here decodes (TE-05)',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'the front forwards Transfer-Encoding beside Content-Length (TE-02)',
  HPE_DUPLICATE_CONTENT_LENGTH: 'the front forwards a repeated Content-Length (CL-05)',
  HPE_INVALID_CONTENT_LENGTH: 'the front forwards a Content-Length that is no single number (CL-04, CL-05)',
  HPE_INVALID_TRAILER: 'the front is laxer in trailers: it forwards empty names and the like (TR-01)',
  HPE_FORBIDDEN_TRAILER: 'the front forwards trailers whatever their names (TR-03)',
  HPE_TRAILERS_TOO_LONG: 'the front\'s limit of trailers is higher than ours (TR-04)',
  HPE_INVALID_CONNECTION: 'the front ignores members of Connection that are no tokens (CN-09)',
  HPE_EXPECTATION_FAILED: 'the front passes unknown expectations on (EX-04)',
  HPE_TRACE_WITH_CONTENT: 'the front forwards TRACE with content (TC-01)',
  HPE_INVALID_CHUNK_EXT: 'the front forwards chunk extensions unchecked (CH-08)',
  HPE_INVALID_CHUNK_SIZE: 'the front stops inside a chunk size because its peer\'s was invalid',
  HPE_INCOMPLETE_HEAD: 'the front gave its peer up inside a head',
  HPE_INCOMPLETE_CONTENT: 'the front gave its peer up inside the content; the application was told that it is incomplete (CL-08, CH-12)'
}

export function whyForwarded(code) {
  return FORWARDED[code] ?? ''
}

/** node:http answered, we refused. */
const ANSWERED = {
  ...Object.fromEntries(Object.keys(FORWARDED).map(code => [code, ''])),
  HPE_UNEXPECTED_SPACE: 'llhttp skips further spaces in the request line (RL-02)',
  HPE_TOO_MANY_EMPTY_LINES: 'llhttp skips any number of empty lines (RL-03)',
  HPE_UNEXPECTED_START: 'llhttp skips bare LF before the request line (RL-04)',
  HPE_LF_EXPECTED: 'llhttp skips bare CR before the request line (RL-04)',
  HPE_CR_EXPECTED: 'llhttp answers a line without a version that ends in LF (RL-05, RL-32)',
  HPE_INVALID_CONSTANT: 'llhttp answers lines of other protocols and without a version (VE-01, RL-32)',
  HPE_INVALID_VERSION: 'llhttp answers HTTP/0.9 and HTTP/2.0 (VE-02)',
  HPE_INVALID_URL: 'node:http does not check the target (RL-13 to RL-31)',
  HPE_INVALID_METHOD: 'llhttp reads another method there',
  HPE_URL_TOO_LONG: 'its limit is 16 KiB for the whole head (LM-01)',
  HPE_FIELD_LINE_TOO_LONG: 'its limit is 16 KiB for the whole head (LM-02)',
  HPE_TOO_MANY_FIELDS: 'its limit is 2 000 lines, beyond which they are dropped in silence (LM-03)',
  HPE_INVALID_HOST: 'node:http does not check Host (HO-03 to HO-08)',
  HPE_MISSING_HOST: 'node:http answers 400 too, but keeps the connection: what follows is answered (HO-01, G-09)',
  HPE_DUPLICATE_HOST: 'node:http takes the first of several Host lines (HO-02)',
  HPE_DUPLICATE_SINGLETON: 'node:http takes the first of several lines, whatever another program takes (HF-16)',
  HPE_DUPLICATE_CONTENT_LENGTH: 'node:http takes equal lengths (CL-05)',
  HPE_INVALID_CONTENT_LENGTH: 'llhttp reads another length there (CL-04)',
  HPE_UNEXPECTED_CONTENT_LENGTH: 'llhttp lets one of the two fields win (TE-02)',
  HPE_TRANSFER_ENCODING_IN_1_0: 'llhttp decodes chunked content of HTTP/1.0 (TE-03)',
  HPE_INVALID_TRANSFER_ENCODING: 'llhttp looks at the last coding only and takes an empty value for none (TE-04, TE-05, TE-08)',
  HPE_UNSUPPORTED_TRANSFER_CODING: 'llhttp takes any coding before chunked (TE-05)',
  HPE_INVALID_CHUNK_SIZE: 'llhttp bounds no number of leading zeros (CH-04)',
  HPE_INVALID_CHUNK_EXT: 'llhttp accepts an empty extension name and an empty value (CH-08)',
  HPE_CHUNK_EXT_TOO_LONG: 'its limit counts per chunk and differently (CH-11)',
  HPE_INVALID_TRAILER: 'llhttp is laxer in trailers (TR-01)',
  HPE_FORBIDDEN_TRAILER: 'node:http keeps trailers of any name (TR-03)',
  HPE_TRAILERS_TOO_LONG: 'its limit is 16 KiB (TR-04)',
  HPE_OBSOLETE_FOLD: 'llhttp unfolds (HF-07)',
  HPE_INVALID_FIELD_VALUE: 'llhttp is laxer in values (HF-12)',
  HPE_INVALID_HEADER_TOKEN: 'llhttp reads another name there (HF-02)',
  HPE_INVALID_CONNECTION: 'llhttp ignores members that are no tokens (CN-09)',
  HPE_EXPECTATION_FAILED: 'node:http answers some of them 417 and keeps the connection, and takes others for 100-continue (EX-04)',
  HPE_TRACE_WITH_CONTENT: 'node:http leaves TRACE to the application (TC-01)',
  HPE_CONNECT_REFUSED: 'node:http closes CONNECT unless somebody listens for it (RL-29)',
  HPE_INCOMPLETE_CONTENT: 'node:http had more of the content, because it framed it differently',
  HPE_INCOMPLETE_HEAD: 'node:http read the end of its input differently'
}

export function whyNode(what) {
  const there = /^answered there, here (\S+)$/.exec(what)
  if (there !== null) return ANSWERED[there[1]] ?? ''
  if (/^fewer requests there, here \S+ after them$/.test(what)) return 'an error behind good requests makes node:http drop the answers that were pending (G-04), or it refuses what we accept, earlier'
  switch (what) {
    case 'fewer requests there': return 'llhttp knows a list of methods only, refuses whitespace around ; in chunk extensions and HTAB around framing values, takes Proxy-Connection for Connection, has a lower limit of the head, and loses what follows an Upgrade (RL-08, CH-09, HF-14, CN-07, LM-02, UP-01)'
    case 'more requests there': return 'node:http persists where HTTP/1.0 says both close and keep-alive, and answers TRACE in the application (CN-04, TC-02)'
    case 'other requests there': return 'the same number, of which one is TRACE or framed differently; TRACE never reaches an application here (TC-02)'
    default: return ''
  }
}
