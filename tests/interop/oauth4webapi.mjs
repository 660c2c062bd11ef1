// oauth4webapi at an installation: each step by itself, and every answer checked by the library.
import * as oauth from 'oauth4webapi';
import { browse, imported, run } from './conversation.mjs';

const http = { [oauth.allowInsecureRequests]: true }; // on loopback
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

function authentication({ token_endpoint_auth_method: method, client_secret: secret }, key) {
  switch (method) {
    case 'client_secret_basic': return oauth.ClientSecretBasic(secret);
    case 'client_secret_post': return oauth.ClientSecretPost(secret);
    case 'client_secret_jwt': return oauth.ClientSecretJwt(secret);
    case 'private_key_jwt': return oauth.PrivateKeyJwt(key);
    default: return oauth.None();
  }
}

async function discovered(issuer, algorithm = 'oidc') {
  const url = new URL(issuer);
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { ...http, algorithm }));
}

// The answer to a request as `read` understands it, signatures included. Asked again where a proof needs a nonce.
async function answered(as, send, read) {
  const once = async () => {
    const answer = await send();
    const found = await read(answer);
    if (found?.id_token) await oauth.validateApplicationLevelSignature(as, answer, http);
    return found;
  };
  return once().catch((error) => (oauth.isDPoPNonceError(error) ? once() : Promise.reject(error)));
}

class Application {
  constructor(as, client, proof, DPoP) {
    Object.assign(this, { as, client, proof, options: { ...http, DPoP } });
  }

  static async of({ issuer, registered, key, use = [] }) {
    const own = key && await imported(key);
    const made = new Application(await discovered(issuer), registered, authentication(registered, own));
    made.key = own;
    if (use.includes('dpop')) made.options.DPoP = oauth.DPoP(registered, await oauth.generateKeyPair('ES256'));
    return made;
  }

  async signedIn({ redirect_uri, scope, use, more }) {
    const { as, client, proof, options } = this;
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    const nonce = oauth.generateRandomNonce();
    let asked = new URLSearchParams({
      client_id: client.client_id, response_type: use.includes('hybrid') ? 'code id_token' : 'code',
      redirect_uri, scope, state, nonce, code_challenge_method: 'S256',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), ...more,
    });
    const { client_id } = client;
    if (use.includes('jarm')) asked.set('response_mode', 'jwt');
    if (use.includes('jar')) {
      asked = new URLSearchParams({ client_id, request: await oauth.issueRequestObject(as, client, asked, this.key) });
    }
    if (use.includes('par')) {
      const { request_uri } = await answered(
        as,
        () => oauth.pushedAuthorizationRequest(as, client, proof, asked, options),
        (answer) => oauth.processPushedAuthorizationResponse(as, client, answer),
      );
      asked = new URLSearchParams({ client_id, request_uri });
    }
    const url = new URL(as.authorization_endpoint);
    url.search = asked;
    const back = await browse(url);
    const params = await this.validated(back, { use, state, nonce });
    return answered(
      as,
      () => oauth.authorizationCodeGrantRequest(as, client, proof, params, redirect_uri, verifier, options),
      (answer) => oauth.processAuthorizationCodeResponse(as, client, answer, { expectedNonce: nonce, requireIdToken: true }),
    );
  }

  async validated(back, { use, state, nonce }) {
    const { as, client } = this;
    if (use.includes('jarm')) return oauth.validateJwtAuthResponse(as, client, back, state, http);
    if (use.includes('hybrid')) return oauth.validateCodeIdTokenResponse(as, client, back, nonce, state, undefined, http);
    const params = back instanceof Request ? new URLSearchParams(await back.text()) : back;
    return oauth.validateAuthResponse(as, client, params, state);
  }

  async refreshed({ refresh_token }) {
    const { as, client, proof, options } = this;
    return answered(
      as,
      () => oauth.refreshTokenGrantRequest(as, client, proof, refresh_token, options),
      (answer) => oauth.processRefreshTokenResponse(as, client, answer),
    );
  }

  async userinfo({ access_token }, sub) {
    const { as, client, options } = this;
    return answered(
      as,
      () => oauth.userInfoRequest(as, client, access_token, options),
      (answer) => oauth.processUserInfoResponse(as, client, sub, answer),
    );
  }

  async introspected(token) {
    const { as, client, proof } = this;
    const answer = await oauth.introspectionRequest(as, client, proof, token, { ...http, requestJwtResponse: true });
    const found = await oauth.processIntrospectionResponse(as, client, answer);
    await oauth.validateApplicationLevelSignature(as, answer, http); // RFC 9701
    return found;
  }

  async revoke(token) {
    const { as, client, proof } = this;
    return oauth.processRevocationResponse(await oauth.revocationRequest(as, client, proof, token, http));
  }

  // What a resource server of the library's makes of a call with the token.
  async accepted({ access_token }, audience) {
    const { as, options } = this;
    const url = new URL('https://api.example/things');
    const serve = (_url, sent) => oauth
      .validateJwtAccessToken(as, new Request(url, sent), audience, { ...http, requireDPoP: !!options.DPoP })
      .then((claims) => Response.json(claims));
    const call = { DPoP: options.DPoP, [oauth.customFetch]: serve };
    const answer = await oauth.protectedResourceRequest(access_token, 'GET', url, undefined, undefined, call);
    return answer.json();
  }
}

// From the first click until the person has signed out.
async function story(told) {
  const app = await Application.of(told);
  const tokens = await app.signedIn(told);
  const { sub } = oauth.getValidatedIdTokenClaims(tokens);
  const claims = await app.userinfo(tokens, sub);
  const refreshed = await app.refreshed(tokens);
  await app.userinfo(refreshed, sub);
  await app.revoke(refreshed.refresh_token);
  const refusal = await app.userinfo(refreshed, sub).catch((error) => error);
  const url = new URL(app.as.end_session_endpoint);
  url.search = new URLSearchParams({
    id_token_hint: tokens.id_token, post_logout_redirect_uri: told.post_logout_redirect_uri, state: 'bye',
  });
  return { tokens, refreshed, claims, refusal: refusal.status, back: await browse(url) };
}

async function device(told) {
  const app = await Application.of(told);
  const { as, client, proof } = app;
  const asked = await oauth.deviceAuthorizationRequest(as, client, proof, { scope: told.scope }, http);
  const codes = await oauth.processDeviceAuthorizationResponse(as, client, asked);
  const poll = () => answered(
    as,
    () => oauth.deviceCodeGrantRequest(as, client, proof, codes.device_code, http),
    (answer) => oauth.processDeviceCodeResponse(as, client, answer),
  );
  
  await browse(codes.verification_uri_complete);
  const tokens = await poll();
  return { tokens, claims: await app.userinfo(tokens, oauth.getValidatedIdTokenClaims(tokens).sub) };
}

// For the client itself: at a resource server, at introspection, and exchanged for another resource.
async function own(told) {
  const app = await Application.of(told);
  const { as, client, proof, options } = app;
  const tokens = await answered(
    as,
    () => oauth.clientCredentialsGrantRequest(as, client, proof, { scope: told.scope }, options),
    (answer) => oauth.processClientCredentialsResponse(as, client, answer),
  );
  const exchange = {
    subject_token: tokens.access_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience: told.exchanged_for,
  };
  return {
    claims: await app.accepted(tokens, told.audience),
    introspected: await app.introspected(tokens.access_token),
    exchanged: await answered(
      as,
      () => oauth.genericTokenEndpointRequest(as, client, proof, TOKEN_EXCHANGE, exchange, options),
      (answer) => oauth.processGenericTokenEndpointResponse(as, client, answer),
    ),
  };
}

async function registration(told) {
  const as = await discovered(told.issuer, 'oauth2');
  const metadata = { redirect_uris: [told.redirect_uri], grant_types: ['authorization_code', 'refresh_token'] };
  const asked = { ...http, initialAccessToken: told.initial_access_token };
  const registered = await oauth.processDynamicClientRegistrationResponse(
    await oauth.dynamicClientRegistrationRequest(as, metadata, asked),
  );
  const app = await Application.of({ ...told, registered });
  return { tokens: await app.signedIn(told), registered };
}

await run({ story, device, own, registration });
