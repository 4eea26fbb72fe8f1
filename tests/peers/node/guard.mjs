// The bearer check of a FHIR server that has none by itself: tokens are the token server's, by scope.
import { allows, needs } from './scopes.mjs';

export class Refused extends Error {
  constructor(status, code, text, headers = {}) {
    super(text);
    Object.assign(this, { status, headers, outcome: { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code, details: { text } }] } });
  }
}

export async function tokenServerSays(tokenServer, path, options) {
  return (await fetch(tokenServer + path, options)).json();
}

// Throws Refused, unless nobody guards, or it is the loader, or the token's scopes cover the request.
export async function authorize({ tokenServer, loaderToken }, request, path, body) {
  if (!tokenServer) return;
  const token = request.headers.authorization?.match(/^Bearer (.+)$/i)?.[1];
  if (token && token === loaderToken) return;
  const said = token && (await tokenServerSays(tokenServer, '/introspect', { method: 'POST', body: new URLSearchParams({ token }) }));
  if (!said?.active) throw new Refused(401, 'login', 'A valid access token is needed', { 'www-authenticate': 'Bearer' });
  const lacking = needs(request.method, path, body).find((need) => !allows(said.scope, need));
  if (lacking) throw new Refused(403, 'forbidden', `No scope for .${lacking.letter} on ${lacking.type}`);
}
