// An upstream provider for the tests of this directory: the certified `oidc-provider`, with everything switched on that
// Watchword speaks. Told on its first line of input: {"port", "clients", "nonce"}; whoever signs in may be anybody.
import { createInterface } from 'node:readline';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [line] = await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next().then((it) => [it.value]);
const { port, clients } = JSON.parse(line);
const issuer = `http://localhost:${port}`;
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig', kid: 'upstream' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  // What the client `keeper` gets is over at once for Watchword, so that it is renewed at the first use.
  ttl: { AccessToken: (_ctx, _token, client) => (client.clientId === 'keeper' ? 20 : 3600) },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  claims: { openid: ['sub', 'sid'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: true,
  features: {
    devInteractions: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    pushedAuthorizationRequests: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    userinfo: { enabled: true },
  },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'RS256'], dPoPSigningAlgValues: ['ES256'] },
  findAccount: (_ctx, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: `Ms ${sub}`, email: `${sub}@upstream.test`, email_verified: true }),
  }),
  // The provider's own guard refuses this machine, where Watchword is.
  fetch: (url, options) => globalThis.fetch(url, { ...options, dispatcher: undefined }),
  // Nobody is asked for consent: what was asked for is granted.
  loadExistingGrant: async (ctx) => {
    const { session, client, params } = ctx.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(params.scope ?? 'openid');
    await grant.save();
    return grant;
  },
});
for (const name of ['server_error', 'authorization.error', 'grant.error', 'backchannel.error', 'pushed_authorization_request.error']) {
  provider.on(name, (...all) => console.error(name, all.find((each) => each instanceof Error)));
}
provider.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ issuer })));
