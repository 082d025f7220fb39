// Only servers of this machine are driven: a benchmark pointed at somebody else's is an attack. Pure.

/** @throws Error for anything but http or https to a loopback address. */
export function parseLoopback(text: string): URL {
  if (!URL.canParse(text)) throw new Error(`not a URL: ${text}`)
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Error(`neither http nor https: ${text}`)
  // Whatever the spelling (127.1, 0x7f.1), URL gives four decimal numbers.
  if (url.hostname !== 'localhost' && url.hostname !== '[::1]' && !/^127\.\d+\.\d+\.\d+$/.test(url.hostname)) {
    throw new Error(`not a loopback address: ${url.hostname}; only a server on this machine is driven`)
  }
  return url
}
