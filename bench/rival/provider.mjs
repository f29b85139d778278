// npm's oidc-provider 9 as its documentation sets it up for client credentials: JWT tokens for one API, opaque for the
// other. `node provider.mjs PORT ALGORITHM`, its clients as JSON on standard input. It records nothing on disk; we do.
import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as oidc from 'oidc-provider';

const Provider = oidc.Provider ?? oidc.default;

class Memory { // its own drops what is older than a thousand entries
  static kept = new Map();
  constructor(model) { this.model = model; }
  async upsert(id, payload) { Memory.kept.set(`${this.model}:${id}`, payload); }
  async find(id) { return Memory.kept.get(`${this.model}:${id}`); }
  async consume(id) { Memory.kept.get(`${this.model}:${id}`).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { Memory.kept.delete(`${this.model}:${id}`); }
  async findByUid() {}
  async findByUserCode() {}
  async revokeByGrantId() {}
}

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
const certificate = (ctx) => {
  const header = ctx.get('client-cert');
  return header ? new X509Certificate(Buffer.from(header.slice(1, -1), 'base64')) : undefined;
};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: Memory,
  clients: JSON.parse(readFileSync(0, 'utf8')),
  clientAuthMethods: ['client_secret_basic', 'private_key_jwt', 'tls_client_auth'],
  clientDefaults: { id_token_signed_response_alg: algorithm },
  enabledJWA: { clientAuthSigningAlgValues: ['ES256'], dPoPSigningAlgValues: ['ES256'] },
  ttl: { ClientCredentials: 3600 },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      certificateBoundAccessTokens: true,
      getCertificate: certificate,
      certificateAuthorized: () => true,
      certificateSubjectMatches: (ctx, _property, expected) => certificate(ctx).subject === expected,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://rs1.example/',
      getResourceServerInfo: (ctx, resource) => api(resource.endsWith('opaque') ? 'opaque' : 'jwt'),
    },
  },
  jwks: { keys: [jwk] },
  scopes: ['a:read'],
});
provider.on('server_error', (_ctx, error) => console.error(error));
provider.listen(port, '127.0.0.1');
