// Asymmetrik's FHIR server framework with a Map as its storage: a peer for its quirks.
// node asymmetrik-server.mjs '{"port": 8109, "types": ["Patient", "DocumentReference"]}'
// Its base is /4_0_0/. Search by patient, identifier, name and birth date, paging and the door for
// loading (POST /load, NDJSON) are ours; every answer and header is the framework's.
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';

const require = createRequire(import.meta.url);
const express = createRequire(require.resolve('@asymmetrik/node-fhir-server-core'))('express');
const { initialize, ServerError } = require('@asymmetrik/node-fhir-server-core');

const { port, types } = JSON.parse(process.argv[2]);
const base = `http://127.0.0.1:${port}/4_0_0`;
const PAGE = 10;
const kept = Object.fromEntries(types.map((type) => [type, new Map()]));

const ofPatient = (resource, id) =>
  [resource.subject, resource.patient].some((one) => one?.reference === `Patient/${id.replace(/^Patient\//, '')}`);
const numbered = (resource, token) => {
  const [system, value] = token.split('|');
  return [resource.masterIdentifier, ...(resource.identifier ?? [])].some((one) => one?.system === system && one?.value === value);
};
const called = (resource, part, name) =>
  (resource.name ?? []).some((one) => [one[part]].flat().some((said) => said?.toLowerCase().startsWith(name.toLowerCase())));
const RULES = {
  patient: ofPatient,
  subject: ofPatient,
  identifier: numbered,
  family: (resource, name) => called(resource, 'family', name),
  given: (resource, name) => called(resource, 'given', name),
  birthdate: (resource, date) => resource.birthDate === date,
  _id: (resource, id) => resource.id === id,
};

// The framework keeps every parameter that it does not know from the storage: paging reads the URL.
function page(type, matches, request) {
  const asked = new URL(request.originalUrl, base).searchParams;
  const offset = +(asked.get('page') ?? 0) * PAGE;
  const link = [{ relation: 'self', url: `${base}/${type}?${asked}` }];
  asked.set('page', offset / PAGE + 1);
  if (offset + PAGE < matches.length) link.push({ relation: 'next', url: `${base}/${type}?${asked}` });
  const entry = matches.slice(offset, offset + PAGE).map((resource) => ({ fullUrl: `${base}/${type}/${resource.id}`, resource }));
  return { resourceType: 'Bundle', type: 'searchset', total: matches.length, link, entry };
}

const service = (type) => ({
  async search(args, { req }) {
    const asked = Object.entries(RULES).filter(([name]) => args[name] !== undefined);
    return page(type, [...kept[type].values()].filter((one) => asked.every(([name, rule]) => rule(one, args[name]))), req);
  },
  async searchById({ id }) {
    const found = kept[type].get(id);
    if (!found) throw new ServerError('not found', { statusCode: 404, issue: [{ severity: 'error', code: 'not-found' }] });
    return found;
  },
  async create(_args, { req }) {
    const id = randomUUID();
    kept[type].set(id, { ...req.body, id });
    return { id };
  },
});

const load = (lines) => {
  for (const line of lines.split('\n').filter(Boolean)) {
    const resource = JSON.parse(line);
    kept[resource.resourceType].set(resource.id, resource);
  }
};

const app = express();
app.post('/load', express.text({ type: '*/*', limit: '64mb' }), (request, response) => {
  load(request.body);
  response.sendStatus(204);
});
// The framework itself takes bodies of 100 kB at most.
app.use(express.json({ type: 'application/fhir+json', limit: '16mb' }));
const profiles = Object.fromEntries(types.map((type) => [type, { service: service(type), versions: ['4_0_0'] }]));
initialize({ profiles, logging: { level: 'error' } }, app).app.listen(port, '127.0.0.1');
