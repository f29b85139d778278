// npm's oidc-provider 9 as its documentation sets it up for client credentials: JWT tokens for one API, opaque for the
// other, everything in memory (it records nothing on disk; we do).
import { generateKeyPairSync } from 'node:crypto';
import * as oidc from 'oidc-provider';

const Provider = oidc.Provider ?? oidc.default;
const port = Number(process.argv[2]);
const algorithm = process.argv[3];
const { privateKey } = algorithm === 'ES256'
  ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
  : generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...privateKey.export({ format: 'jwk' }), alg: algorithm, use: 'sig' };
const api = (format) => ({
  scope: 'a:read', audience: 'https://rs1.example/', accessTokenFormat: format, accessTokenTTL: 3600,
  ...(format === 'jwt' ? { jwt: { sign: { alg: algorithm } } } : {}),
});
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'caller', client_secret: 'x'.repeat(43), grant_types: ['client_credentials'], redirect_uris: [],
    response_types: [], token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: algorithm,
  }],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://rs1.example/',
      getResourceServerInfo: (ctx, resource) => api(resource.endsWith('opaque') ? 'opaque' : 'jwt'),
    },
  },
  jwks: { keys: [jwk] },
  scopes: ['a:read'],
});
provider.listen(port, '127.0.0.1');
