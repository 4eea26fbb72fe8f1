// Medplum's resource validator as a line server: reads one file path a line, answers one JSON line
// {"file", "errors": [{"severity", "location", "message"}], "warnings": n}.
import './definitions.mjs';
import { validateResource } from '@medplum/core';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

// validateResource throws when there is an error, and returns the milder issues when there is none.
function issuesOf(file) {
  try {
    return validateResource(JSON.parse(readFileSync(file, 'utf8')));
  } catch (refusal) {
    return refusal.outcome?.issue ?? [{ severity: 'fatal', details: { text: String(refusal) } }];
  }
}

function judge(file) {
  const issues = issuesOf(file);
  const isError = (issue) => issue.severity === 'error' || issue.severity === 'fatal';
  const errors = issues.filter(isError).map((issue) => ({
    severity: issue.severity,
    location: issue.expression?.join(', ') ?? '',
    message: issue.details?.text ?? issue.diagnostics ?? issue.code,
  }));
  return { file, errors, warnings: issues.filter((issue) => issue.severity === 'warning').length };
}

process.stdout.write('{"ready":true}\n');
for await (const file of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(judge(file)) + '\n');
}
