// A real OpenID provider for the tests: oidc-provider on a loopback port, over plain HTTP.
//
// From the environment:
//   PROVIDER_DIRECTORY   keys.json (a private JWKS; made when missing) and accounts.json
//   PROVIDER_PORT        the port, or 0 for a free one
//   PROVIDER_ALGORITHMS  of keys that are made, separated by spaces; the first signs by default
//
// Writes `issuer URL` to standard output once it answers, and ends when standard input does, so
// that a test run which is killed takes it along.
//
// Clients: `ci` (client credentials; its access tokens are JWTs) and `gateway` (public: device
// flow, authorization code with PKCE). Its own development pages sign in any account, with any
// password. What is under /test/ is the tests' own and no part of any provider.
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import {
  exportJWK, generateKeyPair, importJWK, SignJWT, UnsecuredJWT,
} from 'jose';
import { Provider } from 'oidc-provider';

const directory = process.env.PROVIDER_DIRECTORY;
const KEYS = join(directory, 'keys.json');
const ACCOUNTS = join(directory, 'accounts.json');
const AUDIENCE = 'gateway';
// How long minted tokens are valid unless the request says otherwise, in seconds.
const EXPIRES_IN = 300;
// A request is a few claims; more is a mistake of the test. In bytes.
const BODY_MAX = 1024 * 1024;

// Once per process: sign-ins under way survive a rotation of the signing keys.
const cookieKeys = [randomBytes(32).toString('hex')];
let issuer;
let keys;
let provider;

async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = `${alg}-${randomBytes(6).toString('hex')}`;
  return { ...await exportJWK(privateKey), kid, alg, use: 'sig' };
}

function newKeys(algorithms) {
  return Promise.all(algorithms.map(newKey));
}

// oidc-provider reads its keys once. Its sessions, grants and codes are the process's, so that a
// second instance goes on where the first stood.
function useKeys(list) {
  writeFileSync(`${KEYS}.new`, JSON.stringify({ keys: list }));
  renameSync(`${KEYS}.new`, KEYS);
  keys = list;
  const next = new Provider(issuer, configuration());
  next.on('server_error', (_, error) => console.error(error));
  provider = next.callback();
}

// Read each time: tests change groups while the provider runs. Nobody is unknown.
function account(id) {
  const known = existsSync(ACCOUNTS) ? JSON.parse(readFileSync(ACCOUNTS, 'utf8')) : {};
  return { email: `${id}@example.test`, email_verified: true, groups: [], ...known[id] };
}

function configuration() {
  return {
    jwks: { keys },
    cookies: { keys: cookieKeys },
    clients: [
      {
        client_id: 'ci',
        client_secret: 'ci-secret',
        token_endpoint_auth_method: 'client_secret_post',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        id_token_signed_response_alg: keys[0].alg,
      },
      {
        client_id: 'gateway',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        grant_types: [
          'authorization_code',
          'refresh_token',
          'urn:ietf:params:oauth:grant-type:device_code',
        ],
        response_types: ['code'],
        // Of a native client's loopback address any port is accepted (RFC 8252, section 7.3).
        redirect_uris: ['http://127.0.0.1/callback'],
        id_token_signed_response_alg: keys[0].alg,
      },
    ],
    scopes: ['openid', 'offline_access'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
    // The claims of the scopes are in the ID token itself, as with the large providers.
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...account(id) }) }),
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      registration: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_, client) => (client.clientId === 'ci' ? 'urn:gateway' : undefined),
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: AUDIENCE,
          accessTokenFormat: 'jwt',
          accessTokenTTL: EXPIRES_IN,
          jwt: { sign: { alg: keys[0].alg } },
        }),
      },
    },
    formats: {
      customizers: {
        // CI systems put what they know of the job into the token. Here the request tells it.
        jwt: (ctx, _, token) => {
          const claims = ctx?.oidc?.body?.test_claims;
          Object.assign(token.payload, claims ? JSON.parse(claims) : {});
        },
      },
    },
    ttl: {
      AccessToken: EXPIRES_IN,
      AuthorizationCode: 60,
      ClientCredentials: EXPIRES_IN,
      DeviceCode: 600,
      Grant: 3600,
      IdToken: 3600,
      Interaction: 600,
      RefreshToken: 3600,
      Session: 3600,
    },
  };
}

// What a test asks for that it got wrong, as against what this program gets wrong.
class Mistake extends Error {}

// POST /test/token {claims, alg?, kid?, expires_in?, audience?, foreign?}
//
// Mints what a CI system hands its jobs: an ID token about the job, signed with the issuer's
// current key. No package brings that part, since it belongs to the CI system; this stands in for
// it, also with tokens that no honest issuer makes. `claims` go over everything else, and null
// takes a claim away. `alg` "none" leaves the signature out. `foreign` signs with a key that nobody
// knows, under the key id of the real one.
async function mint(request) {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: issuer,
    aud: request.audience ?? AUDIENCE,
    sub: 'repo:acme/api:ref:refs/heads/main',
    iat: now,
    exp: now + (request.expires_in ?? EXPIRES_IN),
    jti: randomUUID(),
    ...(request.claims?.email ? { email_verified: true } : {}),
    ...request.claims,
  };
  const payload = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== null));
  const alg = request.alg ?? keys[0].alg;
  if (alg === 'none') {
    return { token: new UnsecuredJWT(payload).encode() };
  }
  const own = keys.find((key) => key.alg === alg);
  if (!own) {
    throw new Mistake(`there is no key for ${alg}, only for ${keys.map((key) => key.alg)}`);
  }
  const key = await importJWK(request.foreign ? await newKey(alg) : own, alg);
  const header = { alg, typ: 'JWT', kid: request.kid ?? own.kid };
  return { token: await new SignJWT(payload).setProtectedHeader(header).sign(key) };
}

// POST /test/keys {algorithms?, keep?}
//
// Makes new keys, of the algorithms that it has now or of these. `keep` goes on publishing the old
// ones behind them, as an issuer does whose tokens are still under way.
async function rotate({ algorithms, keep }) {
  const fresh = await newKeys(algorithms ?? [...new Set(keys.map((key) => key.alg))]);
  useKeys(keep ? [...fresh, ...keys] : fresh);
  return { kids: keys.map((key) => key.kid) };
}

const OWN = { '/test/token': mint, '/test/keys': rotate };

async function body(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > BODY_MAX) {
      throw new Mistake(`the request is larger than ${BODY_MAX} bytes`);
    }
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch (error) {
    throw new Mistake(`the request is no JSON: ${error.message}`);
  }
}

async function answer(request, response) {
  const own = request.method === 'POST' && OWN[request.url];
  if (!own) {
    return provider(request, response);
  }
  let status = 200;
  let result;
  try {
    result = await own(await body(request));
  } catch (error) {
    status = error instanceof Mistake ? 400 : 500;
    result = { error: String(error) };
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  return response.end(JSON.stringify(result));
}

const server = createServer(answer);
server.listen(Number(process.env.PROVIDER_PORT ?? 0), '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  const kept = existsSync(KEYS) && JSON.parse(readFileSync(KEYS, 'utf8')).keys;
  useKeys(kept || await newKeys((process.env.PROVIDER_ALGORITHMS ?? 'RS256').split(' ')));
  console.log(`issuer ${issuer}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
