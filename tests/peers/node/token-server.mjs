// A strict SMART Backend Services token server: oidc-provider with private_key_jwt clients.
// node token-server.mjs '{"port": 8105, "scopes": ["system/*.rs"], "clients": [{"client_id": "bridge",
//   "alg": "RS384", "jwks_uri": "http://127.0.0.1:8106/jwks"}]}'
// It answers on /token, /.well-known/smart-configuration and, for the FHIR servers beside it, on
// /introspect (RFC 7662, open to whoever reaches this loopback port). Why an assertion was refused
// goes to standard output, because the answer to the client hides it.
import http from 'node:http';
import Provider from 'oidc-provider';

const { port, scopes, clients } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const algorithms = [...new Set(clients.map((client) => client.alg))];

const provider = new Provider(issuer, {
  clients: clients.map(({ client_id, alg, jwks_uri }) => ({
    client_id,
    jwks_uri,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: alg,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: scopes.join(' '),
  })),
  scopes,
  clientAuthMethods: ['private_key_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: algorithms },
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  ttl: { ClientCredentials: () => 300 },
  routes: { token: '/token' },
  // On Node 20 the HTTP dispatcher that oidc-provider brings breaks the fetch of a jwks_uri.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
});
provider.on('grant.error', (_context, error) => console.log('refused:', error.error_detail ?? error.message));
provider.on('server_error', (_context, error) => console.log('failed:', error.stack));

const configuration = {
  token_endpoint: `${issuer}/token`,
  introspection_endpoint: `${issuer}/introspect`,
  grant_types_supported: ['client_credentials'],
  token_endpoint_auth_methods_supported: ['private_key_jwt'],
  token_endpoint_auth_signing_alg_values_supported: algorithms,
  scopes_supported: scopes,
  capabilities: ['client-confidential-asymmetric', 'permission-v1', 'permission-v2'],
};

async function introspect(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const token = new URLSearchParams(Buffer.concat(chunks).toString()).get('token') ?? '';
  const found = await provider.ClientCredentials.find(token);
  if (!found?.isValid) return { active: false };
  return { active: true, client_id: found.clientId, scope: found.scope ?? '', exp: found.exp };
}

const answer = (response, body) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(body));
};
const oauth = provider.callback();

http.createServer(async (request, response) => {
  if (request.url === '/.well-known/smart-configuration') return answer(response, configuration);
  if (request.url === '/introspect' && request.method === 'POST') return answer(response, await introspect(request));
  return oauth(request, response);
}).listen(port, '127.0.0.1');
