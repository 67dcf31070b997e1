// A real SAML identity provider for the tests: the npm package samlp, which makes and signs the
// response that it would have a browser post.
//
// From the environment:
//   SAML_DIRECTORY  key.pem and certificate.pem (RSA)
//   SAML_REQUEST    JSON: user {name, attributes {name: value or list}}, and over sensible ones
//                   whatever samlp takes: issuer, audience, recipient, lifetimeInSeconds, …
//
// Writes the response to standard output, as XML.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import samlp from 'samlp';

const read = (name) => readFileSync(join(process.env.SAML_DIRECTORY, name));
const { user, ...options } = JSON.parse(process.env.SAML_REQUEST);

function profileMapper(profile) {
  return {
    getClaims: () => profile.attributes,
    getNameIdentifier: () => ({ nameIdentifier: profile.name }),
  };
}
// samlp publishes what a mapper knows in its metadata; this one knows nothing.
profileMapper.prototype = {};

samlp.getSamlResponse({
  cert: read('certificate.pem'),
  key: read('key.pem'),
  signatureAlgorithm: 'rsa-sha256',
  digestAlgorithm: 'sha256',
  lifetimeInSeconds: 300,
  profileMapper,
  ...options,
}, user, (error, response) => {
  if (error) {
    throw error;
  }
  process.stdout.write(response);
});
