// Verifies a token (PROVIDER_TOKEN) as a relying party does that knows nothing but the issuer's
// address (PROVIDER_ISSUER), and prints its claims. Shares no code with what signed it.
import { createPublicKey, verify } from 'node:crypto';

const issuer = process.env.PROVIDER_ISSUER;
const [header, payload, signature] = process.env.PROVIDER_TOKEN.split('.');
const read = (part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));

async function get(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url}: ${response.status}`);
  }
  return response.json();
}

const { alg, kid } = read(header);
const digests = { RS256: 'sha256', ES256: 'sha256', EdDSA: null };
if (!(alg in digests)) {
  throw new Error(`${alg} is not accepted`);
}
const discovery = await get(`${issuer}/.well-known/openid-configuration`);
const { keys } = await get(discovery.jwks_uri);
const jwk = keys.find((key) => key.kid === kid && key.alg === alg);
if (!jwk) {
  throw new Error(`the issuer has no key ${kid}`);
}
// JOSE writes ECDSA signatures as r and s, not in DER (RFC 7518, section 3.4).
const key = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
const signed = Buffer.from(`${header}.${payload}`);
if (!verify(digests[alg], signed, key, Buffer.from(signature, 'base64url'))) {
  throw new Error('the signature does not match');
}
console.log(JSON.stringify(read(payload)));
