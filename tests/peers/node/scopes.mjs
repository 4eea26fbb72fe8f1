// Which request a SMART scope allows: v1 (system/Patient.read) and v2 (system/Patient.rs).
const LETTERS = { read: 'rs', write: 'cud', '*': 'cruds' };
const WRITES = { PUT: 'u', PATCH: 'u', DELETE: 'd', POST: 'c' };

function need(method, path) {
  const [type = '', id] = path.split('?')[0].split('/').filter(Boolean);
  const letter = id === '_search' ? 's' : (WRITES[method] ?? (id ? 'r' : 's'));
  return { type, letter };
}

// A transaction needs what each of its entries needs.
export function needs(method, path, body) {
  if (path !== '/') return [need(method, path)];
  return (body?.entry ?? []).map(({ request }) => need(request?.method, request?.url ?? ''));
}

export function allows(scope, { type, letter }) {
  return scope.split(' ').some((one) => {
    const [, granted, letters] = one.match(/^system\/([A-Za-z*]+)\.([a-z*]+)/) ?? [];
    return (granted === '*' || granted === type) && (LETTERS[letters] ?? letters).includes(letter);
  });
}
