// A peer for `make bench-peers`: the certified Node provider on PostgreSQL, set up as its documentation advises.
//
//   node server.mjs PORT DATABASE_URL SEED_FILE
//
// One client that may do everything measured, ES256 keys, JWT access tokens for a resource (client_credentials) and
// opaque ones otherwise. Grants, refresh and access tokens are seeded into PostgreSQL and written to SEED_FILE as JSON.
import { writeFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import pg from 'pg';
import { Provider } from 'oidc-provider';
import { adapterFor } from './adapter.mjs';

const [port, databaseUrl, seedFile] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const RESOURCE = 'urn:bench:api';
const SEEDS = 2000;

const pool = new pg.Pool({ connectionString: databaseUrl, max: 8 });
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  adapter: await adapterFor(pool),
  jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig', kid: 'bench' }] },
  clients: [{
    client_id: 'bench',
    client_secret: 'bench-secret-bench-secret-bench-secret',
    grant_types: ['client_credentials', 'refresh_token', 'authorization_code'],
    redirect_uris: ['https://app.example/cb'],
    response_types: ['code'],
    id_token_signed_response_alg: 'ES256',
    token_endpoint_auth_method: 'client_secret_post',
    introspection_endpoint_auth_method: 'client_secret_post',
  }],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => (ctx.oidc?.body?.grant_type === 'client_credentials' ? RESOURCE : undefined),
      getResourceServerInfo: () => ({ scope: 'api', audience: RESOURCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
      useGrantedResource: () => false,
    },
  },
  rotateRefreshToken: () => true,
  ttl: { AccessToken: 3600, ClientCredentials: 300, RefreshToken: 86400, Grant: 86400, IdToken: 3600, Session: 86400 },
  findAccount: (_ctx, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: 'Bench User', email: 'bench@example.test', email_verified: true }),
  }),
  claims: { email: ['email', 'email_verified'], profile: ['name'] },
  cookies: { keys: ['only for a benchmark on this machine'] },
});

async function seed() {
  const client = await provider.Client.find('bench');
  const refresh = [];
  const access = [];
  for (let i = 0; i < SEEDS; i += 1) {
    const accountId = `user-${i}`;
    const grant = new provider.Grant({ accountId, clientId: 'bench' });
    grant.addOIDCScope('openid profile email offline_access');
    const grantId = await grant.save();
    const shared = { accountId, client, grantId, gty: 'authorization_code', scope: 'openid profile email offline_access' };
    const now = Math.floor(Date.now() / 1000);
    refresh.push(await new provider.RefreshToken({ ...shared, authTime: now, rotations: 0, iiat: now }).save());
    access.push(await new provider.AccessToken({ ...shared }).save());
  }
  return { refresh, access };
}

const seeds = await seed();
provider.on('server_error', (_ctx, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1', () => {
  writeFileSync(seedFile, JSON.stringify({ issuer, client_id: 'bench', client_secret: 'bench-secret-bench-secret-bench-secret', ...seeds }));
});
