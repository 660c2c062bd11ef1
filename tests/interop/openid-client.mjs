// openid-client at an installation. It checks by itself what it receives: issuer, state, nonce, signatures, times.
import * as client from 'openid-client';
import { browse, imported, run } from './conversation.mjs';

const options = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] }; // http on loopback

function authentication({ token_endpoint_auth_method: method, client_secret: secret }, key) {
  switch (method) {
    case 'client_secret_basic': return client.ClientSecretBasic(secret);
    case 'client_secret_post': return client.ClientSecretPost(secret);
    case 'client_secret_jwt': return client.ClientSecretJwt(secret);
    case 'private_key_jwt': return client.PrivateKeyJwt(key);
    default: return client.None();
  }
}

async function discovered({ issuer, registered }, key) {
  const proof = authentication(registered, key);
  return client.discovery(new URL(issuer), registered.client_id, registered, proof, options);
}

async function signedIn(config, { redirect_uri, scope, use, more }, { key, DPoP }) {
  const verifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  const nonce = client.randomNonce();
  const asked = {
    redirect_uri, scope, state, nonce, code_challenge_method: 'S256',
    code_challenge: await client.calculatePKCECodeChallenge(verifier), ...more,
  };
  let url = client.buildAuthorizationUrl(config, asked);
  if (use.includes('jar')) url = await client.buildAuthorizationUrlWithJAR(config, asked, key);
  if (use.includes('par')) url = await client.buildAuthorizationUrlWithPAR(config, url.searchParams, { DPoP });
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  return client.authorizationCodeGrant(config, await browse(url), checks, undefined, { DPoP });
}

// From the first click until the person has signed out.
async function story(told) {
  const key = told.key && await imported(told.key);
  const config = await discovered(told, key);
  if (told.use.includes('jarm')) client.useJwtResponseMode(config);
  if (told.use.includes('hybrid')) client.useCodeIdTokenResponseType(config);
  if (told.use.includes('encrypted')) {
    client.enableDecryptingResponses(config, ['A256GCM'], await imported(told.key, 'ECDH'));
  }
  const DPoP = told.use.includes('dpop') ? client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256')) : undefined;
  const tokens = await signedIn(config, told, { key, DPoP });
  const { sub } = tokens.claims();
  const claims = await client.fetchUserInfo(config, tokens.access_token, sub, { DPoP });
  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  await client.fetchUserInfo(config, refreshed.access_token, sub, { DPoP });
  await client.tokenRevocation(config, refreshed.refresh_token);
  const refusal = await client.fetchUserInfo(config, refreshed.access_token, sub, { DPoP }).catch((error) => error);
  const back = await browse(client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token, post_logout_redirect_uri: told.post_logout_redirect_uri, state: 'bye',
  }));
  return { tokens, refreshed, claims, refusal: refusal.status, back };
}

// Only who somebody is, in the answer itself.
async function implicit(told) {
  const config = await discovered(told);
  client.useIdTokenResponseType(config);
  const nonce = client.randomNonce();
  const state = client.randomState();
  const asked = { redirect_uri: told.redirect_uri, scope: told.scope, state, nonce, ...told.more };
  const back = await browse(client.buildAuthorizationUrl(config, asked));
  return client.implicitAuthentication(config, back, nonce, { expectedState: state });
}

async function device(told) {
  const config = await discovered(told);
  const codes = await client.initiateDeviceAuthorization(config, { scope: told.scope });
  await browse(codes.verification_uri_complete);
  const tokens = await client.pollDeviceAuthorizationGrant(config, { ...codes, interval: 0 }); // it was decided
  return { tokens, claims: await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub) };
}

// For the client itself, and that exchanged for another resource.
async function own(told) {
  const config = await discovered(told);
  const { access_token } = await client.clientCredentialsGrant(config, { scope: told.scope });
  return {
    introspected: await client.tokenIntrospection(config, access_token),
    exchanged: await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      subject_token: access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: told.exchanged_for,
    }),
  };
}

async function registration(told) {
  const metadata = {
    redirect_uris: [told.redirect_uri], grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_post', // what the library does unless it is told otherwise
  };
  const config = await client.dynamicClientRegistration(new URL(told.issuer), metadata, undefined, {
    ...options, initialAccessToken: told.initial_access_token,
  });
  const tokens = await signedIn(config, told, {});
  return { tokens, registered: config.clientMetadata() };
}

await run({ story, implicit, device, own, registration });
