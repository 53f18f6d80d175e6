'use strict';
// What the analyst decides: kept in this browser, handed over as a file. The file's form: report/decisions.py.

const DECISIONS = ROWS.decisions;
const DECISION_KEYS = Object.keys(DECISIONS);
const [DECISIONS_FORMAT, DECISIONS_VERSION, MAX_NOTE] = ROWS.decisions_format;
const KEEP_AS = `videonovelty ${ROWS.run_id} ${ROWS.snapshots.join('+')}`;

const kept = { analyst: '', made: new Map(), others: new Map(), unsaved: 0, inBrowser: true };
const undoable = [];

function readKept() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEEP_AS) || '{}');
    kept.analyst = String(stored.analyst || '');
    kept.unsaved = Number(stored.unsaved || 0);
    for (const [entry, made] of Object.entries(stored.made || {})) {
      if (ROW_OF_ENTRY.has(entry) && (made.decision === '' || Object.hasOwn(DECISIONS, made.decision))) kept.made.set(entry, made);
    }
  } catch {
    kept.inBrowser = false;
  }
}

function writeKept() {
  try {
    const stored = { analyst: kept.analyst, unsaved: kept.unsaved, made: Object.fromEntries(kept.made) };
    localStorage.setItem(KEEP_AS, JSON.stringify(stored));
    kept.inBrowser = true;
  } catch {
    kept.inBrowser = false;
  }
}

/** The decision of row i, '' without one. */
function decisionOf(i) {
  const made = kept.made.get(COLUMNS.entry[i]);
  return made ? made.decision : '';
}

function noteOf(i) {
  const made = kept.made.get(COLUMNS.entry[i]);
  return made ? made.note : '';
}

/** What kind of material the analyst says row i is, '' where nothing is said. */
function materialOf(i) {
  const made = kept.made.get(COLUMNS.entry[i]);
  return (made && made.material) || '';
}

/** Whether a decision can be handed over for row i: a file without an id can only be looked at again. */
function allowed(i, decision) {
  return decision === '' || decision === 'second_look' || !COLUMNS.unread[i];
}

function decide(i, decision) {
  if (!allowed(i, decision)) return false;
  undoable.push([i, kept.made.get(COLUMNS.entry[i])]);
  keep(i, decision, noteOf(i), materialOf(i));
  return true;
}

function describe(i, material) {
  keep(i, decisionOf(i), noteOf(i), material);
}

function note(i, text) {
  keep(i, decisionOf(i), text.slice(0, MAX_NOTE), materialOf(i));
}

function keep(i, decision, text, material) {
  const entry = COLUMNS.entry[i];
  if (decision === '' && text === '' && material === '') kept.made.delete(entry);
  else kept.made.set(entry, { decision, note: text, material, at: new Date().toISOString() });
  kept.unsaved += 1;
  writeKept();
}

/** Take the last decision back; the row it was about, or -1. */
function undo() {
  if (!undoable.length) return -1;
  const [i, before] = undoable.pop();
  if (before) kept.made.set(COLUMNS.entry[i], before);
  else kept.made.delete(COLUMNS.entry[i]);
  kept.unsaved += 1;
  writeKept();
  return i;
}

/** Decisions about row i that stand in the store, as [analyst, {decision, note, at, material}]. */
function storedOf(i) {
  const stored = (ROWS.store && ROWS.store.rows[i]) || [];
  return stored.map(([analyst, decision, text, at, material]) => [analyst, { decision, note: text, at, material }]);
}

/** Other reviewers' decisions about row i, of files they handed over, as [analyst, {decision, note}]. */
function othersOf(i) {
  const entry = COLUMNS.entry[i];
  return [...kept.others].filter(([, made]) => made.has(entry)).map(([analyst, made]) => [analyst, made.get(entry)]);
}

/** What stands about row i, one decision an analyst: the store's, then what files say anew, then this browser's. */
function opinionsOf(i) {
  const all = new Map([...storedOf(i), ...othersOf(i)].map(([analyst, made]) => [analyst, made.decision]));
  if (decisionOf(i)) all.set(kept.analyst.trim(), decisionOf(i));
  return all;
}

function differs(i) {
  return new Set(opinionsOf(i).values()).size > 1;
}

/** The decision shown for row i: this browser's, else what the store holds. */
function standingOf(i) {
  const stored = storedOf(i);
  return decisionOf(i) || (stored.length ? stored[0][1].decision : '');
}

/** How many more analysts the store waits for about row i. */
function awaited(i) {
  const stored = storedOf(i);
  return stored.length ? Math.max(0, ROWS.store.reviewers - stored.length) : 0;
}

/** The decisions as JSON Lines. */
function decisionLines() {
  const rows = [...kept.made.keys()].map((entry) => ROW_OF_ENTRY.get(entry)).filter((i) => decisionOf(i));
  rows.sort((a, b) => a - b);
  return rows.map((i) => {
    const made = kept.made.get(COLUMNS.entry[i]);
    const standsFor = (FOLLOWERS.get(i) || []).filter((j) => COLUMNS.waits[j]).map((j) => COLUMNS.entry[j]);
    return JSON.stringify({
      format: DECISIONS_FORMAT,
      format_version: DECISIONS_VERSION,
      run_id: ROWS.run_id,
      snapshot: coded('snapshot', i),
      video_id: COLUMNS.unread[i] ? '' : COLUMNS.entry[i],
      entry: COLUMNS.entry[i],
      verdict: coded('verdict', i),
      known_video_id: coded('known_id', i),
      stands_for: standsFor.sort(),
      decision: made.decision,
      disposition: Object.hasOwn(ROWS.material, made.material || '') ? made.material || '' : '',
      note: made.note,
      analyst: kept.analyst.trim(),
      decided_at: made.at,
    }) + '\n';
  });
}

/** Offer the decisions as a file; how many there were. */
function exportDecisions() {
  const lines = decisionLines();
  const name = `decisions-${ROWS.run_id}-${kept.analyst.trim()}`.replace(/[^A-Za-z0-9._-]+/g, '_').slice(0, 120);
  const address = URL.createObjectURL(new Blob(lines, { type: 'application/jsonl' }));
  const link = h('a', { href: address, download: name + '.jsonl', hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  kept.unsaved = 0;
  writeKept();
  return lines.length;
}

/** Read another reviewer's file; a sentence about what came of it. */
function compareWith(text) {
  let taken = 0;
  let foreign = 0;
  for (const line of text.split('\n')) {
    if (!line.trim()) continue;
    let record;
    try {
      record = JSON.parse(line);
    } catch {
      return 'This is not a file of decisions.';
    }
    if (record === null || record.format !== DECISIONS_FORMAT) return 'This is not a file of decisions.';
    const analyst = String(record.analyst || '').trim();
    if (record.run_id !== ROWS.run_id || !ROW_OF_ENTRY.has(record.entry) || !Object.hasOwn(DECISIONS, record.decision) || !analyst) {
      foreign += 1;
      continue;
    }
    if (analyst === kept.analyst.trim()) return 'This is your own file.';
    if (!kept.others.has(analyst)) kept.others.set(analyst, new Map());
    kept.others.get(analyst).set(record.entry, { decision: record.decision, note: String(record.note || '') });
    taken += 1;
  }
  const unlike = Array.from({ length: COUNT }, (_, i) => i).filter(differs).length;
  return `${count(taken, 'decision', 'decisions')} of ${count(kept.others.size, 'other reviewer', 'other reviewers')} shown; ` +
    `${count(unlike, 'video is', 'videos are')} judged differently.` + (foreign ? ` ${foreign} were of another run.` : '');
}
