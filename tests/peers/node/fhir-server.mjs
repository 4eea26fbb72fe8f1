// Medplum's FHIR router with its in-memory repository, given the HTTP face that it lacks by itself.
// node fhir-server.mjs '{"port": 8103, "tokenServer": "http://127.0.0.1:8105", "loaderToken": "..."}'
// Without tokenServer it is open. Its base is /fhir/R4/.
import './definitions.mjs';
import { getStatus, validateResource } from '@medplum/core';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import http from 'node:http';
import { authorize, Refused, tokenServerSays } from './guard.mjs';

const { port, tokenServer, loaderToken } = JSON.parse(process.argv[2]);
const base = `http://127.0.0.1:${port}/fhir/R4/`;
const FHIR_JSON = 'application/fhir+json';
const PAGE = 20;

const router = new FhirRouter();
const repository = new MemoryRepository();
const keep = repository.createResource.bind(repository);
const update = repository.updateResource.bind(repository);
// The repository itself validates nothing.
repository.createResource = async (resource, options) => (validateResource(resource), keep(resource, options));
repository.updateResource = async (resource, options) => (validateResource(resource), update(resource, options));

const capability = {
  resourceType: 'CapabilityStatement', status: 'active', date: '2026-01-01', kind: 'instance',
  fhirVersion: '4.0.1', format: ['json'], software: { name: 'Medplum router' }, rest: [{ mode: 'server' }],
};

// Medplum finds a subject by "Patient/ID" only; a FHIR client may say the bare ID (R4 search, reference).
function withTypedPatients(url) {
  for (const key of ['patient', 'subject']) {
    const value = url.searchParams.get(key);
    if (value && !value.includes('/')) url.searchParams.set(key, 'Patient/' + value);
  }
  return url;
}

// The router pages by _count and _offset but writes no links.
function withNextLink(bundle, url) {
  const reached = +(url.searchParams.get('_offset') ?? 0) + +(url.searchParams.get('_count') ?? PAGE);
  for (const entry of bundle.entry ?? []) entry.search = { mode: 'match' };
  const next = new URL(url);
  next.searchParams.set('_offset', reached);
  bundle.link = [{ relation: 'self', url: url.href }];
  if (reached < bundle.total) bundle.link.push({ relation: 'next', url: next.href });
  return bundle;
}

async function createRawBinary(request, raw) {
  const stored = await keep({ resourceType: 'Binary', contentType: request.headers['content-type'], data: raw.toString('base64') });
  return { status: 201, body: stored, headers: { location: `${base}Binary/${stored.id}` } };
}

async function readRawBinary(id) {
  const stored = await repository.readResource('Binary', id);
  return { status: 200, body: Buffer.from(stored.data ?? '', 'base64'), headers: { 'content-type': stored.contentType } };
}

async function askRouter(request, url, path, body) {
  const [outcome, resource] = await router.handleRequest(
    { method: request.method, url: path + url.search, pathname: '', params: {}, query: {}, body, headers: request.headers, config: {} }, repository);
  if (resource?.type === 'searchset') withNextLink(resource, url);
  const version = resource?.meta?.versionId;
  const headers = version ? { etag: `W/"${version}"`, location: `${base}${resource.resourceType}/${resource.id}/_history/${version}` } : {};
  return { status: getStatus(outcome), body: resource ?? outcome, headers };
}

async function answer(request, raw) {
  const url = withTypedPatients(new URL(request.url, base));
  const path = url.pathname.replace(/^\/fhir\/R4/, '').replace(/\/$/, '') || '/';
  const isJson = (header) => /json/.test(header ?? '');
  if (path === '/metadata') return { status: 200, body: capability };
  if (path === '/.well-known/smart-configuration' && tokenServer) {
    return { status: 200, body: await tokenServerSays(tokenServer, path), headers: { 'content-type': 'application/json' } };
  }
  const rawBinary = request.method === 'POST' && path === '/Binary' && !isJson(request.headers['content-type']);
  const body = raw.length && !rawBinary ? JSON.parse(raw) : undefined;
  await authorize({ tokenServer, loaderToken }, request, path, body);
  if (rawBinary) return createRawBinary(request, raw);
  const binary = path.match(/^\/Binary\/([^/]+)$/);
  if (request.method === 'GET' && binary && !isJson(request.headers.accept)) return readRawBinary(binary[1]);
  return askRouter(request, url, path, body);
}

function asRefusal(error) {
  if (error instanceof Refused) return { status: error.status, body: error.outcome, headers: error.headers };
  if (error.outcome) return { status: getStatus(error.outcome), body: error.outcome };
  const invalid = error instanceof SyntaxError;
  const issue = [{ severity: 'error', code: invalid ? 'structure' : 'exception', diagnostics: String(error) }];
  return { status: invalid ? 400 : 500, body: { resourceType: 'OperationOutcome', issue } };
}

http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { status, body, headers = {} } = await answer(request, Buffer.concat(chunks)).catch(asRefusal);
  response.writeHead(status, { 'content-type': FHIR_JSON, ...headers });
  response.end(Buffer.isBuffer(body) ? body : JSON.stringify(body));
}).listen(port, '127.0.0.1');
