// One parsed head. Made once per request, owned by its cycle, never pooled: an application may keep it.
// All values are spans into `text`, so nothing here refers to the read slab.

/** How the content of a message is delimited (RFC 9112 §6.3). */
export const Framing = { NONE: 0, LENGTH: 1, CHUNKED: 2 } as const
export type Framing = (typeof Framing)[keyof typeof Framing]

/** Form of the request-target (RFC 9112 §3.2). Authority-form never gets this far: CONNECT is refused. */
export const TargetForm = { ORIGIN: 0, ABSOLUTE: 1, ASTERISK: 2 } as const
export type TargetForm = (typeof TargetForm)[keyof typeof TargetForm]

/** ` HTTP/1.1` behind the target. */
const VERSION_LENGTH = 9

export class RequestHead {
  /** The method as received. */
  method: string
  /** Request line and field lines as received, latin-1, from the method's first octet to the final CRLF CRLF. */
  text: string
  /** Request-target span in `text`. */
  targetStart: number
  targetEnd: number
  form: TargetForm
  /** absolute-form only: the span of its authority, else 0, 0. */
  authorityStart = 0
  authorityEnd = 0
  /** 0 for HTTP/1.0, 1 for HTTP/1.1. */
  versionMinor: 0 | 1
  /** Four numbers a field line: name start, name end, value start, value end (OWS trimmed), in order of arrival. */
  fields: number[]
  framing: Framing = Framing.NONE
  /** With Framing.LENGTH the announced octets, else 0. */
  contentLength = 0
  /** The peer lets the connection persist (RFC 9112 §9.3). */
  keepAlive = false
  /** The peer named `keep-alive` in Connection. */
  askedKeepAlive = false
  /** HTTP/1.1 with `Expect: 100-continue`. */
  expectContinue = false
  /** HTTP/1.1 with Upgrade, and `upgrade` in Connection. */
  upgrade = false
  /** `TE: trailers` was sent (RFC 9110 §10.1.4). */
  acceptsTrailers = false

  constructor(method: string, text: string, targetStart: number, targetEnd: number, form: TargetForm, versionMinor: 0 | 1, fields: number[]) {
    this.method = method
    this.text = text
    this.targetStart = targetStart
    this.targetEnd = targetEnd
    this.form = form
    this.versionMinor = versionMinor
    this.fields = fields
  }

  /** Number of field lines. */
  get fieldCount(): number {
    return this.fields.length >> 2
  }

  /** The request-target exactly as received. */
  get target(): string {
    return this.text.slice(this.targetStart, this.targetEnd)
  }

  /** Method, target and version as received. */
  get requestLine(): string {
    return this.text.slice(0, this.targetEnd + VERSION_LENGTH)
  }
}
