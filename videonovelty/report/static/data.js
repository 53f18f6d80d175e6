'use strict';
// The page's data and the words for it. Nothing here touches the visible page.

const ROWS = JSON.parse(document.getElementById('rows').textContent);
const COLUMNS = ROWS.columns;
const COUNT = ROWS.count;
const VERDICTS = Object.keys(ROWS.verdicts);
const KIND_TEXT = { novel: 'novel', same_scene: 'same scene', inside: 'known in part of the picture', undecoded: 'undecoded', uninformative: 'nothing to compare', known: 'known' };
const KIND_OF_LETTER = { n: 'novel', s: 'same_scene', p: 'inside', x: 'undecoded', u: 'uninformative', k: 'known' };
const LETTER_OF_KIND = Object.fromEntries(Object.entries(KIND_OF_LETTER).map(([letter, kind]) => [kind, letter]));
const IDENTIFIED_TEXT = { no: 'still searched for', yes: 'identified', unknown: 'not known whether identified' };

/** What a table of words says for a key that may come from anywhere. */
function word(words, key, otherwise) {
  return Object.hasOwn(words, key) ? words[key] : otherwise;
}

/** Value of a coded column for row i. */
function coded(name, i) {
  const column = COLUMNS[name];
  return column.values[column.codes[i]];
}

const ROW_OF_ENTRY = new Map(COLUMNS.entry.map((entry, i) => [entry, i]));

// Rows that stand under each leader.
const FOLLOWERS = new Map();
COLUMNS.leader.forEach((leader, i) => {
  if (leader === i) return;
  if (!FOLLOWERS.has(leader)) FOLLOWERS.set(leader, []);
  FOLLOWERS.get(leader).push(i);
});

// Details come in blocks, read when first needed: from the page itself, or in the folder form from a file beside it.
const DETAIL_FILES = JSON.parse(document.getElementById('detail-files').textContent);
const detailBlocks = new Map();
const detailWaiting = new Map();

/** Called by the files of the folder form. */
function takeDetails(number, block) {
  detailBlocks.set(number, block);
  const waiting = detailWaiting.get(number) || [];
  detailWaiting.delete(number);
  waiting.forEach((answer) => answer());
}

/** The details of row i now, or null when they have to be loaded first. */
function detailsNow(i) {
  const number = Math.floor(i / ROWS.per_block);
  if (!detailBlocks.has(number)) {
    const element = document.getElementById('details-' + number);
    if (element === null) return null;
    detailBlocks.set(number, JSON.parse(element.textContent));
    element.remove();
  }
  return detailBlocks.get(number)[i % ROWS.per_block];
}

/** Load the details of row i, then call `ready`, or `failed` when the file beside the page is not there. */
function loadDetails(i, ready, failed) {
  const number = Math.floor(i / ROWS.per_block);
  if (detailWaiting.has(number)) {
    detailWaiting.get(number).push(ready);
    return;
  }
  detailWaiting.set(number, [ready]);
  const script = document.createElement('script');
  script.onerror = () => {
    detailWaiting.delete(number);
    failed(DETAIL_FILES[number]);
  };
  script.src = DETAIL_FILES[number];
  document.head.append(script);
}

/** Times as in the rest of videonovelty: 0:03.4, 12:03, 1:02:03. */
function clock(seconds) {
  const two = (n) => String(n).padStart(2, '0');
  if (seconds < 600) {
    const tenths = Math.floor(seconds * 10 + 0.5);
    return `${Math.floor(tenths / 600)}:${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
  }
  const whole = Math.floor(seconds + 0.5);
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600).toLocaleString('en')}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Lengths for a narrow column: no tenths from a minute on. */
function length(seconds) {
  return seconds < 60 ? clock(seconds) : clock(seconds).replace(/\.\d$/, '');
}

function spoken(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds + 0.5);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 60)} min`;
  const minutes = Math.floor(seconds / 60 + 0.5);
  return `${Math.floor(minutes / 60).toLocaleString('en')} h ${minutes % 60} min`;
}

function count(n, one, many) {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

/** Last part of a path, which names the file, and the part before it. */
function parts(path) {
  const at = path.lastIndexOf('/');
  if (at < 0 || at === path.length - 1) return [path, ''];
  const folder = path.slice(0, at);
  return [path.slice(at + 1), folder.slice(folder.lastIndexOf('/') + 1)];
}

/** An element: attributes by name, `on…` handlers, children as text or elements. Text is only ever text. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.className = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}
