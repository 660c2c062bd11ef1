// A second SAML identity provider for the tests of this directory: `samlp`, which Auth0 wrote. Told on its first line of
// input: {"port", "key", "cert", "encryptionPublicKey", "encryptionCert"}. Each variant is a provider of its own.
import { createInterface } from 'node:readline';
import { createServer } from 'node:http';
import samlp from 'samlp';

const [line] = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next().then((it) => [it.value]);
const { port, key, cert, encryptionPublicKey, encryptionCert } = JSON.parse(line);
const origin = `http://localhost:${port}`;
const VARIANTS = {
  assertion: {},
  response: { signAssertion: false, signResponse: true },
  both: { signResponse: true },
  encrypted: { encryptionPublicKey, encryptionCert },
  nothing: { signAssertion: false },
};
const USER = {
  id: 'samlp|42', displayName: 'Sam Second', name: { givenName: 'Sam', familyName: 'Second' },
  emails: [{ value: 'sam@second.test' }],
};

const handlers = {};
for (const [name, options] of Object.entries(VARIANTS)) {
  const issuer = `urn:second:${name}`;
  handlers[`/sso/${name}`] = (req, res, next) => samlp.parseRequest(req, (error, asked) => {
    if (error) return next(error);
    const acs = asked.assertionConsumerServiceURL;
    return samlp.auth({
      issuer, cert, key, recipient: acs, destination: acs, sessionIndex: '_session', ...options,
      getPostURL: (_audience, _request, _req, done) => done(null, acs),
      getUserFromRequest: () => USER,
    })(req, res, next);
  });
  handlers[`/metadata/${name}`] = samlp.metadata({ issuer, cert, redirectEndpointPath: `/sso/${name}`, postEndpointPath: `/sso/${name}` });
}

createServer((req, res) => {
  const url = new URL(req.url, origin);
  Object.assign(req, { query: Object.fromEntries(url.searchParams), originalUrl: req.url, protocol: 'http' });
  res.set = (name, value) => res.setHeader(name, value);
  res.send = (body) => res.end(typeof body === 'number' ? String(body) : body);
  const handler = handlers[url.pathname];
  if (handler === undefined) { res.statusCode = 404; return res.end(); }
  return handler(req, res, (error) => { console.error(error); res.statusCode = 500; res.end(String(error)); });
}).listen(port, '127.0.0.1', () => console.log(JSON.stringify({ origin })));
