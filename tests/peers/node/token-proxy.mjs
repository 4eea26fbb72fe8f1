// A gateway that wants the token server's tokens, in front of a FHIR server that wants none.
// node token-proxy.mjs '{"port": 8108, "upstream": "http://127.0.0.1:8107/fhir", "tokenServer":
//   "http://127.0.0.1:8105", "loaderToken": "..."}'
// Its base has the path of the upstream's; the upstream hears by X-Forwarded-* how it is called.
import http from 'node:http';
import { authorize, Refused, tokenServerSays } from './guard.mjs';

const { port, upstream, tokenServer, loaderToken } = JSON.parse(process.argv[2]);
const { hostname, port: upstreamPort, pathname: base } = new URL(upstream);
const DISCOVERY = '/.well-known/smart-configuration';

const refuse = (response, { status, outcome, headers }) => {
  response.writeHead(status, { 'content-type': 'application/fhir+json', ...headers });
  response.end(JSON.stringify(outcome));
};

// Whatever the upstream says goes through as it is, status, headers and bytes.
function forward(request, body, response) {
  const { authorization, ...headers } = request.headers;
  const forwarded = { 'x-forwarded-host': `127.0.0.1:${port}`, 'x-forwarded-proto': 'http' };
  const options = { hostname, port: upstreamPort, path: request.url, method: request.method, headers: { ...headers, ...forwarded } };
  const onward = http.request(options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => refuse(response, new Refused(502, 'transient', 'The server behind this gateway does not answer')));
  onward.end(body);
}

const isTransaction = (request, path) => request.method === 'POST' && path === '/';

async function answer(request, body, response) {
  const url = new URL(request.url, `http://127.0.0.1:${port}`);
  const path = url.pathname.slice(base.length).replace(/\/$/, '') || '/';
  if (path === DISCOVERY) {
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify(await tokenServerSays(tokenServer, path)));
  }
  const entries = isTransaction(request, path) ? JSON.parse(body) : undefined;
  if (path !== '/metadata') await authorize({ tokenServer, loaderToken }, request, path, entries);
  return forward(request, body, response);
}

http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  await answer(request, Buffer.concat(chunks), response).catch((error) =>
    refuse(response, error instanceof Refused ? error : new Refused(500, 'exception', String(error))));
}).listen(port, '127.0.0.1');
