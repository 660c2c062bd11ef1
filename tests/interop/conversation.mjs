// A scenario and its test talk in lines of JSON: the test says what to do, the scenario where a browser shall go and,
// at its end, what it found. Whatever the library refuses ends the process.
import { createInterface } from 'node:readline';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const hear = async () => JSON.parse((await lines.next()).value);

function say(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

// Where a browser comes back to the application, with a form if it posts one: a URL or a Request.
export async function browse(url) {
  say({ open: String(url) });
  const { at, form } = await hear();
  return form ? new Request(at, { method: 'POST', body: new URLSearchParams(form) }) : new URL(at);
}

// The private half of a key that the client registered, to sign with or to read what was encrypted for it.
export async function imported({ jwk, kid }, name = 'ECDSA') {
  const algorithm = { name, namedCurve: jwk.crv };
  const uses = name === 'ECDSA' ? ['sign'] : ['deriveBits'];
  return { key: await crypto.subtle.importKey('jwk', jwk, algorithm, false, uses), kid };
}

export async function run(scenarios) {
  const { scenario, ...told } = await hear();
  say({ done: await scenarios[scenario](told) });
  process.exit(0);
}
