'use strict';
// The queue: which rows are shown, in which order, and the few of them that are on screen.

const FILTERS = ['q', 'show', 'verdict', 'list', 'disposition', 'length', 'reason', 'decision'];
const state = { q: '', show: '', verdict: '', list: '', disposition: '', length: '', reason: '', decision: '', sort: 'order', down: false, at: '', open: false };

let shown = [];
let placeOf = new Map();

const SORTS = {
  order: null, // the order the rows came in
  name: { key: (i) => parts(COLUMNS.names[i][0])[0].toLowerCase(), down: false },
  view: { key: (i) => COLUMNS.view[i], down: false },
  length: { key: (i) => COLUMNS.duration[i], down: false },
  novel: { key: (i) => COLUMNS.novel[i], down: true },
  series: { key: (i) => `${coded('known_list', i) || '\uffff'} ${coded('known_series', i) || '\uffff'}`.toLowerCase(), down: false },
  value: { key: (i) => COLUMNS.value[i], down: true },
  decision: { key: (i) => (standingOf(i) ? DECISION_KEYS.indexOf(standingOf(i)) : 99), down: false },
};

let haystacks = null;

/** What the search box looks through: names, ids, list and series, of the row and of the contents it stands for. */
function haystack(i) {
  if (haystacks === null) haystacks = new Array(COUNT);
  if (haystacks[i] === undefined) {
    const own = [...COLUMNS.names[i], COLUMNS.entry[i], coded('known_id', i), coded('known_series', i),
      ...COLUMNS.lists[i].map((n) => ROWS.lists[n]), COLUMNS.searched[i] ? IDENTIFIED_TEXT.no : ''];
    haystacks[i] = own.filter(Boolean).join('\n').toLowerCase();
  }
  return haystacks[i];
}

function lengthRange(text) {
  const [least, most] = text.split('-');
  return [Number(least), most === '' ? Infinity : Number(most)];
}

/** Rows that pass the filters, sorted. */
function select() {
  const verdict = VERDICTS.includes(state.verdict) ? COLUMNS.verdict.values.indexOf(state.verdict) : null;
  const reason = state.reason ? COLUMNS.reason.values.indexOf(state.reason) : null;
  const list = state.list ? ROWS.lists.indexOf(state.list) : null;
  const disposition = state.disposition ? ROWS.dispositions.indexOf(state.disposition) : null;
  const range = state.length ? lengthRange(state.length) : null;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  // cleared videos are not in the queue: asking for them by verdict or reason shows all videos
  const everything = state.show === 'all';
  const found = [];
  for (let i = 0; i < COUNT; i += 1) {
    if (!everything && !COLUMNS.leads[i]) continue;
    if (verdict !== null && COLUMNS.verdict.codes[i] !== verdict) continue;
    if (reason !== null && COLUMNS.reason.codes[i] !== reason) continue;
    if (list !== null && !COLUMNS.lists[i].includes(list)) continue;
    if (disposition !== null && !COLUMNS.dispositions[i].includes(disposition)) continue;
    if (range !== null) {
      const seconds = COLUMNS.duration[i];
      if (range[1] === 0 ? seconds !== 0 : seconds <= 0 || seconds < range[0] || seconds >= range[1]) continue;
    }
    if (state.decision) {
      const made = standingOf(i);
      if (state.decision === 'open' ? made : state.decision === 'made' ? !made : state.decision === 'differs' ? !differs(i) : made !== state.decision) continue;
    }
    if (words.length && !words.every((word) => haystack(i).includes(word) || (!everything && (FOLLOWERS.get(i) || []).some((j) => haystack(j).includes(word))))) continue;
    found.push(i);
  }
  const sort = SORTS[state.sort];
  if (sort) {
    const keys = new Map(found.map((i) => [i, sort.key(i)]));
    const direction = state.down ? -1 : 1;
    found.sort((a, b) => {
      const x = keys.get(a);
      const y = keys.get(b);
      return x < y ? -direction : x > y ? direction : a - b;
    });
  } else if (state.down) {
    found.reverse();
  }
  return found;
}

const scroller = document.getElementById('scroller');
const body = document.getElementById('queue-rows');
const table = document.getElementById('queue');
const above = h('tr', { 'aria-hidden': 'true' }, h('td'));
const below = h('tr', { 'aria-hidden': 'true' }, h('td'));
above.firstChild.style.cssText = below.firstChild.style.cssText = 'padding:0;border:0';
const drawn = new Map();
let rowHeight = 50;

function measure() {
  rowHeight = parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row')) * parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/** Select anew and draw; the current row stays current where it is still shown. */
function refresh() {
  shown = select();
  placeOf = new Map(shown.map((row, place) => [row, place]));
  if (!placeOf.has(ROW_OF_ENTRY.get(state.at))) state.at = shown.length ? COLUMNS.entry[shown[0]] : '';
  table.setAttribute('aria-rowcount', String(shown.length + 1));
  clearDrawn();
  draw();
}

function clearDrawn() {
  drawn.forEach((element) => element.remove());
  drawn.clear();
  body.replaceChildren(above, below);
}

/** Draw the rows on screen and a few around them; rows that stay keep their elements, and so the focus. */
function draw() {
  if (!shown.length) {
    body.replaceChildren(h('tr', {}, h('td', { colspan: 7, class: 'empty' }, COUNT ? 'No video passes these filters.' : 'The run holds no videos.')));
    drawn.clear();
    return;
  }
  const first = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - 8);
  const last = Math.min(shown.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / rowHeight) + 8);
  above.firstChild.style.height = `${first * rowHeight}px`;
  below.firstChild.style.height = `${(shown.length - last) * rowHeight}px`;
  above.hidden = first === 0;
  below.hidden = last === shown.length;
  const wanted = new Set(shown.slice(first, last));
  for (const [row, element] of drawn) {
    if (wanted.has(row)) continue;
    if (element.contains(document.activeElement)) scroller.focus({ preventScroll: true });
    element.remove();
    drawn.delete(row);
  }
  let before = above;
  for (let place = first; place < last; place += 1) {
    const row = shown[place];
    let element = drawn.get(row);
    if (!element) {
      element = drawRow(row, place);
      drawn.set(row, element);
    }
    if (before.nextSibling !== element) before.after(element);
    before = element;
  }
}

function drawRow(i, place) {
  const current = COLUMNS.entry[i] === state.at;
  const [name, folder] = parts(COLUMNS.names[i][0]);
  const grouped = (FOLLOWERS.get(i) || []).length;
  const verdict = coded('verdict', i);
  const beside = [];
  if (COLUMNS.names[i].length > 1) beside.push(count(COLUMNS.names[i].length, 'name', 'names'));
  if (grouped) beside.push(`stands for ${grouped} more`);
  const leader = COLUMNS.leader[i];
  if (leader !== i) beside.push(COLUMNS.leads[leader] ? 'reviewed with its group' : 'in a group');
  if (folder) beside.push(`in ${folder}`);
  const made = standingOf(i);
  const unlike = otherVerdicts(i);
  return h('tr', { class: made ? 'row decided' : 'row', 'data-row': i, 'aria-rowindex': place + 2, 'aria-current': current ? 'true' : null },
    h('td', { class: 'c-verdict' },
      h('span', { class: `chip v-${verdict}` }, ROWS.verdicts[verdict].text),
      COLUMNS.top[i] ? h('span', { class: 'two small flag' }, 'look first') : null,
      unlike && !COLUMNS.top[i] ? h('span', { class: 'two small flag' }, `group: ${unlike}`) : null),
    h('th', { scope: 'row', class: 'c-name' },
      h('button', { type: 'button', class: 'name', tabindex: current ? 0 : -1, title: COLUMNS.names[i][0] }, h('bdi', {}, name)),
      h('span', { class: 'two small' },
        // in a narrow window there is no column for it
        made ? h('span', { class: 'only-narrow' }, differs(i) ? 'reviewers differ · ' : `✓ ${DECISIONS[made]} · `) : null,
        h('bdi', {}, beside.join(' · ')))),
    h('td', { class: 'c-view num' }, COLUMNS.duration[i] > 0
      ? [length(COLUMNS.view[i]), h('span', { class: 'two small' }, `of ${length(COLUMNS.duration[i])}`)]
      : [h('span', { 'aria-hidden': 'true' }, '?'), h('span', { class: 'vh' }, 'unknown')]),
    h('td', { class: 'c-cells' }, smallTimeline(i)),
    h('td', { class: 'c-known' }, ...knownFootage(i)),
    h('td', { class: 'c-value num' }, COLUMNS.value[i] > 0 ? `×${COLUMNS.value[i].toFixed(1)}` : '–'),
    h('td', { class: 'c-decision' },
      made ? h('span', { class: 'two' }, DECISIONS[made]) : h('span', { class: 'muted' }, '–'),
      besideDecision(i)));
}

function besideDecision(i) {
  if (differs(i)) return h('span', { class: 'two small flag' }, 'reviewers differ');
  if (decisionOf(i)) return noteOf(i) ? h('span', { class: 'two small' }, 'with note') : null;
  const stored = storedOf(i);
  if (!stored.length) return noteOf(i) ? h('span', { class: 'two small' }, 'with note') : null;
  const who = stored.map(([analyst]) => analyst).join(', ');
  return h('span', { class: 'two small', title: `in the store: ${who}` }, awaited(i) ? `${stored.length} of ${ROWS.store.reviewers} reviewers` : h('bdi', {}, who));
}

/** Verdicts in the group that differ from the row's own, as text. */
function otherVerdicts(i) {
  const own = COLUMNS.verdict.codes[i];
  const codes = new Set((FOLLOWERS.get(i) || []).map((j) => COLUMNS.verdict.codes[j]).filter((code) => code !== own));
  return [...codes].map((code) => ROWS.verdicts[COLUMNS.verdict.values[code]].text.toLowerCase()).join(', ');
}

function smallTimeline(i) {
  const cells = COLUMNS.cells[i];
  if (!cells) return h('span', { class: 'muted small' }, COLUMNS.duration[i] > 0 ? 'not cut up' : 'not decoded');
  const bar = h('div', { class: 'cells', role: 'img', 'aria-label': kindsText(cells) });
  for (const run of cells.match(/(.)\1*/g)) {
    const cell = h('span', { class: `k-${run[0]}` });
    cell.style.flexGrow = String(run.length);
    bar.append(cell);
  }
  return bar;
}

function kindsText(cells) {
  return Object.entries(KIND_OF_LETTER).filter(([letter]) => cells.includes(letter)).map(([letter, kind]) => {
    const share = Math.round((100 * cells.split(letter).length - 100) / cells.length);
    return `about ${share} % ${KIND_TEXT[kind]}`;
  }).join(', ');
}

function knownFootage(i) {
  const list = coded('known_list', i);
  if (!list && !coded('known_id', i)) return [h('span', { class: 'muted' }, '–')];
  const series = coded('known_series', i);
  const identified = coded('identified', i);
  const disposition = coded('known_disposition', i);
  const flagged = COLUMNS.searched[i];
  return [
    h('span', { class: 'two', title: [list, series].filter(Boolean).join(' · ') }, h('bdi', {}, [series, list].filter(Boolean).join(' · ') || 'list not stated')),
    h('span', { class: flagged ? 'two small flag' : 'two small', title: flagged ? 'The children in it are still being searched for' : null }, flagged ? 'children sought'
      : [identified === 'yes' ? 'children identified' : '', disposition].filter(Boolean).join(' · ')),
  ];
}

/** Redraw one row, if it is on screen. */
function redrawRow(i) {
  const old = drawn.get(i);
  if (!old) return;
  const focused = old.contains(document.activeElement);
  const fresh = drawRow(i, placeOf.get(i));
  drawn.set(i, fresh);
  old.replaceWith(fresh);
  if (focused) fresh.querySelector('.name').focus({ preventScroll: true });
}

/** Make row i the current one, in sight. */
function goTo(i) {
  const before = ROW_OF_ENTRY.get(state.at);
  state.at = COLUMNS.entry[i];
  if (before !== undefined && before !== i) redrawRow(before);
  const place = placeOf.get(i);
  const head = table.tHead.offsetHeight;
  const top = place * rowHeight;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + rowHeight + head > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + rowHeight + head - scroller.clientHeight;
  draw();
  redrawRow(i);
}

function currentRow() {
  const i = ROW_OF_ENTRY.get(state.at);
  return i === undefined || !placeOf.has(i) ? -1 : i;
}
